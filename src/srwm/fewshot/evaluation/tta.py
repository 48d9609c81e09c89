"""Test-time augmentation: the views of an image, each the same for all images of an episode."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from srwm.fewshot.models.config import ModelConfig

View = Callable[[Tensor], Tensor]
"""A function from images (P, C, H, W) to images of the same shape."""

_NEARER, _FARTHER = 1.15, 0.85


def views(config: ModelConfig) -> tuple[View, ...]:
    """The views of a model's images for test-time augmentation. The first one is the identity.

    Photographs (three channels): original size, 15 % larger and 15 % smaller, each also flipped horizontally. Drawings (any
    other number of channels): rotated by multiples of 90 degrees, or of 180 degrees if not square, each also flipped; a
    consistently rotated class is still a class. Without a stem: the identity only.

    Args:
        config: the model.

    Returns:
        The views.
    """
    if config.stem == "none":
        return (_as_given,)
    channels, height, width = config.image_shape
    if channels == 3:
        nearer, farther = partial(_zoomed, by=_NEARER), partial(_zoomed, by=_FARTHER)
        return _as_given, _of_mirror(nearer), farther, _of_mirror(_as_given), nearer, _of_mirror(farther)
    quarters = range(4) if height == width else (0, 2)
    turns = [partial(torch.rot90, k=quarter, dims=(2, 3)) for quarter in quarters]
    return (*turns, *map(_of_mirror, turns))


def _as_given(images: Tensor) -> Tensor:
    return images


def _of_mirror(view: View) -> View:
    """A view of the horizontally flipped images."""
    return lambda images: view(images.flip(3))


def _zoomed(images: Tensor, by: float) -> Tensor:
    """Scale images around the center; pixels from outside are reflected at the border."""
    size = images.new_tensor([[1 / by, 0, 0], [0, 1 / by, 0]])
    grid = F.affine_grid(size.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
