"""The views of test-time augmentation."""

import pytest
import torch

from srwm.fewshot.evaluation.evaluate import embed_all, embed_views
from srwm.fewshot.evaluation.tta import views
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.nn import StackConfig

STACK = StackConfig(d_model=16, num_heads=2, num_layers=1, ff_factor=1)


def seen(images: torch.Tensor) -> list[torch.Tensor]:
    return [view(images) for view in views(ModelConfig(image_shape=tuple(images.shape[1:])))]


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 20, 28), (3, 24, 24), (3, 20, 28), (2, 16, 16)], ids=str)
def test_views_keep_shapes_and_differ_and_the_first_is_the_image_itself(shape):
    torch.manual_seed(0)
    images = torch.rand(4, *shape)
    found = seen(images)
    assert torch.equal(found[0], images)
    assert all(view.shape == images.shape and view.min() >= 0 and view.max() <= 1 for view in found)
    assert all((one - other).abs().max() > 0.1 for i, one in enumerate(found) for other in found[:i])


def test_square_drawings_are_turned_by_quarters_and_mirrored():
    corners = torch.zeros(1, 1, 16, 16)
    corners[0, 0, 0, 0], corners[0, 0, 0, -1], corners[0, 0, -1, -1], corners[0, 0, -1, 0] = 1, 2, 3, 4
    around = [[int(view[0, 0, i, j]) for i, j in ((0, 0), (0, -1), (-1, -1), (-1, 0))] for view in seen(corners)]
    assert around[:4] == [[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [4, 1, 2, 3]]
    assert sorted(around[4:]) == [[1, 4, 3, 2], [2, 1, 4, 3], [3, 2, 1, 4], [4, 3, 2, 1]]


def test_oblong_drawings_are_turned_by_half_and_mirrored():
    torch.manual_seed(0)
    images = torch.rand(2, 1, 16, 20)
    for view, axes in zip(seen(images), [(), (2, 3), (3,), (2,)], strict=True):
        assert torch.equal(view, images.flip(axes))


def test_photographs_are_mirrored_and_come_nearer_and_go_farther_around_their_center():
    images = torch.zeros(1, 3, 84, 84)
    images[:, :, 32:52, 32:42] = 1.0  # 20 rows, 10 columns, all of them left of the center
    areas = [float(view[:, 0].sum()) / 200 for view in seen(images)]
    assert areas == pytest.approx([1, 1.15**2, 0.85**2, 1, 1.15**2, 0.85**2], rel=0.03)
    left = [bool(view[..., :42].sum() > view[..., 42:].sum()) for view in seen(images)]
    assert left == [True, False, True, False, True, False]
    still = torch.full((1, 3, 84, 84), 0.7)
    assert all(torch.allclose(view, still) for view in seen(still)), "nothing black comes in"


def test_numbers_without_a_stem_are_seen_once():
    torch.manual_seed(0)
    for shape in ((4,), (1, 28, 28), (3, 4, 5)):
        (only,) = views(ModelConfig(image_shape=shape, stem="none"))
        numbers = torch.rand(2, *shape)
        assert torch.equal(only(numbers), numbers)


@pytest.mark.parametrize("head", ["memory", "prototypes"])
def test_features_of_every_view_are_those_of_images_seen_so(splits, head):
    torch.manual_seed(0)
    model = build_model(ModelConfig(image_shape=(1, 16, 16), stem_channels=4, stack=STACK, head=head)).eval()
    images = torch.from_numpy(splits["test"].images).float() / 255
    found = embed_views(model, splits["test"], 3)
    assert torch.equal(found[0], embed_all(model, splits["test"]))
    for features, rotated in zip(found, (images, images.rot90(1, (2, 3)), images.rot90(2, (2, 3))), strict=True):
        torch.testing.assert_close(features, model.embed(rotated).detach())
    assert len(embed_views(model, splits["test"], 99)) == 8
