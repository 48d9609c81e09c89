"""Random data augmentation of a batch of images, on the device of the images."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from srwm.data.draws import normal, uniform
from srwm.ranges import AtLeast, HalfOpen


@dataclass(frozen=True)
class AugmentationConfig:
    """Random data augmentation of each image. Each amount is uniform between plus and minus its limit."""

    RENAMED: ClassVar = {"colour": "color", "mirror": "hflip", "shift": "translate"}

    degrees: Annotated[float, AtLeast(0)] = 10.0
    """rotation, in degrees"""
    scale: Annotated[float, HalfOpen(0, 1)] = 0.15
    """scaling, as a fraction of the size"""
    shear: Annotated[float, AtLeast(0)] = 0.15
    """horizontal shear: shift of a row per unit of its height"""
    translate: Annotated[float, AtLeast(0)] = 1.7 / 28
    """translation, as a fraction of the width and height"""
    elastic: Annotated[float, AtLeast(0)] = 0.0
    """standard deviation of an elastic distortion, as a fraction of the width and height"""
    stroke: Annotated[float, AtLeast(0)] = 0.0
    """change of the width of bright strokes on a black background, in pixels; thin strokes do not vanish"""
    color: Annotated[float, HalfOpen(0, 1)] = 0.0
    """change of brightness, contrast and saturation, each as a fraction; for photographs"""
    hflip: bool = False
    """flip each image horizontally with probability 1/2; for photographs, not for characters"""
    outside: Literal["zeros", "reflection"] = "zeros"
    """padding of transformed images: zeros (black), or the image reflected at its border"""


def augment(images: Tensor, config: AugmentationConfig, generator: torch.Generator | None = None) -> Tensor:
    """Rotate, scale, shear, translate and distort each image, and change its stroke width and its colors, by random amounts.

    Args:
        images: (P, C, H, W) floating; in [0, 1] if colors change.
        config: the limits of the amounts.
        generator: source of the random amounts; None: PyTorch's default generator.

    Returns:
        (P, C, H, W).
    """
    limits = torch.tensor(
        [math.radians(config.degrees), config.scale, config.shear, 2 * config.translate, 2 * config.translate],
        dtype=torch.float32,
        device="cpu",
    )
    draws = (2 * uniform(5, len(images), generator=generator) - 1) * limits[:, None]
    angle, scale, shear, right, down = draws
    grow = 1 + scale
    cos, sin = grow * angle.cos(), grow * angle.sin()
    height, width = images.shape[2:]  # the grid goes from -1 to 1 in both directions
    across, upright = (shear * cos - sin) * (height / width), sin * (width / height)
    matrices = torch.stack([cos, across, right, upright, shear * sin + cos, down], dim=1).view(-1, 2, 3)
    if config.hflip:
        mirrored = torch.randint(2, (len(images),), generator=generator, device="cpu").bool()
        matrices[mirrored, 0] *= -1
    grid = F.affine_grid(matrices.to(images), list(images.shape), align_corners=False)
    if config.elastic:
        bends = 2 * config.elastic * normal(len(images), 2, 4, 4, generator=generator)
        waves = F.interpolate(bends, images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + waves.permute(0, 2, 3, 1).to(grid)
    moved = F.grid_sample(images, grid, padding_mode=config.outside, align_corners=False)
    if config.stroke:
        amounts = (2 * uniform(len(images), generator=generator) - 1) * config.stroke
        moved = change_strokes(moved, amounts.to(images))
    if config.color:
        amounts = 1 + (2 * uniform(3, len(images), generator=generator) - 1) * config.color
        moved = change_colors(moved, *amounts.to(images))
    return moved


def change_colors(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Change brightness, contrast and saturation: factors of the images' values, of the distance from the mean brightness, and
    of the distance from gray. Results are clipped to [0, 1].

    Args:
        images: (P, C, H, W) in [0, 1].
        brightness: factors (P,).
        contrast: factors (P,).
        saturation: factors (P,).

    Returns:
        (P, C, H, W).
    """
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in (brightness, contrast, saturation))
    gray = images.mean(1, keepdim=True)
    level = gray.mean((2, 3), keepdim=True)
    # one weighted sum: saturation * (image - gray) + contrast * (gray - level) + level, all of it times the brightness
    changed = images * (saturation * brightness) + (gray * (contrast - saturation) + level * (1 - contrast)) * brightness
    return changed.clamp_(0, 1)


def change_strokes(images: Tensor, amounts: Tensor) -> Tensor:
    """Make bright strokes on a black background wider or thinner.

    Fractions of a pixel blend an image with its dilation or erosion. A thinned stroke gets its brightness back, so that no
    stroke vanishes.

    Args:
        images: (P, C, H, W) floating.
        amounts: change on each side of a stroke in pixels, (P,); negative amounts make strokes thinner.

    Returns:
        (P, C, H, W).
    """
    size = amounts.abs()[:, None, None, None]
    sign = torch.where(amounts < 0, -1, 1).to(images)[:, None, None, None]
    changed = sign * images
    for step in range(math.ceil(float(size.max()) if len(images) else 0)):
        across, down = F.max_pool2d(changed, (1, 3), 1, (0, 1)), F.max_pool2d(changed, (3, 1), 1, (1, 0))
        changed = changed.lerp(torch.maximum(across, down), (size - step).clamp(0, 0.9))
    changed = sign * changed
    gain = _brightness(images) / _brightness(changed).clamp(min=1e-6)
    bright = torch.minimum(changed * gain, images.amax((1, 2, 3), keepdim=True))
    return torch.where(sign < 0, bright, changed)


def _brightness(images: Tensor) -> Tensor:
    """Mean brightness weighted by itself: the brightness of the strokes, however few pixels they have."""
    return (images**2).sum((1, 2, 3), keepdim=True) / images.sum((1, 2, 3), keepdim=True).clamp(min=1e-6)
