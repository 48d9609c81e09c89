"""Random affine distortion of a batch of images, on the images' own device."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from srwm.data import ImageClasses


@dataclass(frozen=True)
class AffineConfig:
    """Every image gets a distortion of its own, each factor uniform in plus or minus its limit."""

    degrees: float = 10.0
    """rotation, degrees"""
    scale: float = 0.15
    """scaling, as a fraction of the size"""
    shear: float = 0.15
    """horizontal shear: shift of a row per unit of its height"""
    shift: float = 1.7 / 28
    """translation in each direction, as a fraction of the width (1.7 pixels of 28)"""
    mirror: bool = False
    """whether every second image, at random, is mirrored left to right; for photographs, not for characters"""
    outside: Literal["zeros", "reflection"] = "zeros"
    """what comes in from outside: black, or the image mirrored at its edge"""


def distort(images: Tensor, config: AffineConfig, generator: torch.Generator | None = None) -> Tensor:
    """Rotate, scale, shear and shift every image by random amounts.

    Shapes: images (P, C, H, W) floating -> the same. The same generator state gives the same distortions.
    """
    limits = torch.tensor([math.radians(config.degrees), config.scale, config.shear, 2 * config.shift, 2 * config.shift])
    draws = (2 * torch.rand(5, len(images), generator=generator) - 1) * limits[:, None]
    angle, scale, shear, right, down = draws
    grow = 1 + scale
    cos, sin = grow * angle.cos(), grow * angle.sin()
    matrices = torch.stack([cos, shear * cos - sin, right, sin, shear * sin + cos, down], dim=1).view(-1, 2, 3)
    if config.mirror:
        mirrored = torch.randint(2, (len(images),), generator=generator).bool()
        matrices[mirrored, 0] *= -1
    grid = F.affine_grid(matrices.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode=config.outside, align_corners=False)


def distorted(data: ImageClasses, config: AffineConfig, seed: int) -> ImageClasses:
    """The data set with every image distorted once."""
    images = torch.from_numpy(data.images).float()
    turned = distort(images, config, torch.Generator().manual_seed(seed))
    return replace(data, images=turned.round().to(torch.uint8).numpy())
