"""Ways to see an image, each the same for all images of an episode: what the readings of an ensemble look through."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from srwm.fewshot.model import ModelConfig

View = Callable[[Tensor], Tensor]
"""From images (P, C, H, W) to images of the same shape."""

_NEARER, _FARTHER = 1.15, 0.85


def views(config: ModelConfig) -> tuple[View, ...]:
    """Ways to see a model's images, the first as they are.

    Photographs, of three channels: mirrored left to right, 15 % larger, 15 % smaller. Drawings, of any other number: turned by
    quarters, or by half where they are not square, and mirrored; a class that is turned is a class like any other. Numbers
    without a stem are seen as they are.
    """
    if config.stem == "none":
        return (_as_given,)
    channels, height, width = config.image_shape
    if channels == 3:
        nearer, farther = partial(_zoomed, by=_NEARER), partial(_zoomed, by=_FARTHER)
        return _as_given, partial(nearer, mirror=True), farther, _mirrored, nearer, partial(farther, mirror=True)
    quarters = range(4) if height == width else (0, 2)
    turns = tuple(partial(_turned, quarters=quarter) for quarter in quarters)
    return (*turns, *(partial(turn, mirror=True) for turn in turns))


def _as_given(images: Tensor) -> Tensor:
    return images


def _mirrored(images: Tensor) -> Tensor:
    return images.flip(3)


def _turned(images: Tensor, quarters: int, *, mirror: bool = False) -> Tensor:
    return (_mirrored(images) if mirror else images).rot90(quarters, (2, 3))


def _zoomed(images: Tensor, by: float, *, mirror: bool = False) -> Tensor:
    """Larger or smaller around the centre; what comes in from outside is the image mirrored at its edge."""
    size = torch.tensor([[1 / by, 0, 0], [0, 1 / by, 0]]).to(images)
    grid = F.affine_grid(size.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    moved = F.grid_sample(_mirrored(images) if mirror else images, grid, padding_mode="reflection", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)
