import pytest
import torch

from srwm.fewshot.augment import AugmentationConfig, augment, change_colors, change_strokes

STILL = {"degrees": 0.0, "scale": 0.0, "shear": 0.0, "translate": 0.0}


def dot(size=33):
    """One image with a soft dot in its middle, and its coordinates in units of half the width."""
    axis = (2 * torch.arange(size) + 1) / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def pixels(height, width):
    """Coordinates from the middle of an image, in units of half its shorter side."""
    half = min(height, width) / 2
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
    y, x = torch.meshgrid(rows / half, columns / half, indexing="ij")
    return x, y


def moments(images, x, y):
    weight = images / images.sum((-1, -2), keepdim=True)
    mean_x, mean_y = (weight * x).sum((-1, -2)), (weight * y).sum((-1, -2))
    return mean_x, mean_y, (weight * x * x).sum((-1, -2)) - mean_x**2, (weight * y * y).sum((-1, -2)) - mean_y**2


def test_no_distortion_is_the_identity():
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(augment(images, AugmentationConfig(**STILL)), images, atol=1e-5)


def test_the_same_generator_state_gives_the_same_distortions():
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    one, same, other = (augment(images, AugmentationConfig(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_shifts_fill_their_range():
    x, y = dot()
    images = torch.exp(-(x**2 + y**2) / 0.02).expand(500, 1, -1, -1)
    moved = augment(images, AugmentationConfig(**{**STILL, "translate": 0.1}), torch.Generator().manual_seed(0))
    mean_x, mean_y, *_ = moments(moved, x, y)
    for mean in (mean_x, mean_y):
        assert 0.18 < mean.abs().max() <= 0.2001, "a tenth of the width is a fifth of half the width"
        assert mean.mean().abs() < 0.03


def test_scaling_fills_its_range():
    x, y = dot()
    images = torch.exp(-(x**2 + y**2) / 0.05).expand(500, 1, -1, -1)
    scaled = augment(images, AugmentationConfig(**{**STILL, "scale": 0.2}), torch.Generator().manual_seed(0))
    *_, var_x, _ = moments(images, x, y)
    *_, new_x, new_y = moments(scaled, x, y)
    ratio = (new_x / var_x).sqrt()
    assert torch.allclose(new_x, new_y, rtol=1e-3)
    assert 1 / 1.2 - 0.01 <= ratio.min() < 0.86
    assert 1.2 < ratio.max() <= 1 / 0.8 + 0.02  # interpolation blurs a little


@pytest.mark.parametrize("size", [(33, 33), (64, 128), (128, 64)])
def test_rotation_keeps_its_limit_whatever_the_ratio_of_the_sides(size):
    x, y = pixels(*size)
    bar = torch.exp(-(x**2 / 0.2 + y**2 / 0.005)).expand(500, 1, -1, -1)
    rotated = augment(bar, AugmentationConfig(**{**STILL, "degrees": 30.0}), torch.Generator().manual_seed(0))
    weight = rotated / rotated.sum((-1, -2), keepdim=True)
    xx, yy, xy = ((weight * p).sum((-1, -2)) for p in (x * x, y * y, x * y))
    angle = torch.rad2deg(0.5 * torch.atan2(2 * xy, xx - yy))
    assert 28 < angle.max() < 30.5
    assert -30.5 < angle.min() < -28


@pytest.mark.parametrize("size", [(33, 33), (64, 128), (128, 64)])
def test_shear_moves_a_row_by_its_height(size):
    x, y = pixels(*size)
    bar = torch.exp(-(x**2 / 0.005 + y**2 / 0.05)).expand(500, 1, -1, -1)
    sheared = augment(bar, AugmentationConfig(**{**STILL, "shear": 0.2}), torch.Generator().manual_seed(0))
    weight = sheared / sheared.sum((-1, -2), keepdim=True)
    slope = (weight * x * y).sum((-1, -2)) / (weight * y * y).sum((-1, -2))
    assert 0.19 < slope.max() < 0.201
    assert -0.201 < slope.min() < -0.19


def test_half_of_the_images_are_mirrored():
    images = torch.rand(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = augment(images, AugmentationConfig(**STILL, hflip=True), torch.Generator().manual_seed(0))
    same, mirrored = (((found - like).abs().amax((1, 2, 3)) < 1e-5) for like in (images, images.flip(3)))
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250


def test_reflection_leaves_no_black_edge():
    images = torch.ones(50, 3, 8, 8)
    dark, bright = (
        augment(images, AugmentationConfig(outside=kind), torch.Generator().manual_seed(0)) for kind in ("zeros", "reflection")
    )
    assert dark.min() < 0.5
    assert torch.allclose(bright, images)


def test_strokes_become_wider_and_thinner_and_none_vanishes():
    images = torch.zeros(3, 1, 28, 28)
    images[:, :, 4:24, 6:11] = 1
    images[:, :, 4:24, 18] = 1  # a line of one pixel
    thin, same, wide = change_strokes(images, torch.tensor([-1.0, 0.0, 1.0]))[:, 0]
    assert torch.allclose(same, images[0, 0])
    assert thin[14, :14].sum() < 4 < 5 < 6 < wide[14, :14].sum()
    assert wide.max() <= 1
    lone = torch.zeros(1, 1, 28, 28)
    lone[:, :, 4:24, 18] = 1
    assert change_strokes(lone, torch.tensor([-2.0])).max() > 0.9


def test_elastic_distortion_bends_and_keeps_the_ink():
    images = torch.zeros(50, 1, 28, 28)
    images[:, :, 4:24, 12:16] = 1
    bent = augment(images, AugmentationConfig(**STILL, elastic=0.03), torch.Generator().manual_seed(0))
    assert (bent - images).abs().sum((1, 2, 3)).min() > 1
    assert 0.9 < bent.sum() / images.sum() < 1.1


def test_colors_change_within_their_limits():
    """Brightness scales the mean; contrast the distance from it; saturation the distance of channels from gray."""
    images = 0.4 + 0.2 * torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    one = torch.ones(200)
    assert torch.allclose(change_colors(images, one, one, one), images, atol=1e-6)
    assert torch.allclose(change_colors(images, 1.5 * one, one, one), 1.5 * images, atol=1e-6)
    gray = images.mean(1, keepdim=True)
    level = gray.mean((2, 3), keepdim=True)
    assert torch.allclose(change_colors(images, one, one, 0 * one), gray.expand_as(images), atol=1e-6)
    flat = change_colors(images, one, 0.5 * one, 0 * one)
    assert torch.allclose(flat, (level + 0.5 * (gray - level)).expand_as(images), atol=1e-6)
    assert change_colors(images, 9 * one, one, one).max() == 1

    changed = augment(images, AugmentationConfig(**STILL, color=0.3), torch.Generator().manual_seed(0))
    brightness = changed.mean((1, 2, 3)) / images.mean((1, 2, 3))
    assert 0.7 - 1e-3 <= brightness.min() < 0.72
    assert 1.28 < brightness.max() <= 1.3 + 1e-3
    again = augment(images, AugmentationConfig(**STILL, color=0.3), torch.Generator().manual_seed(0))
    assert torch.equal(changed, again)
