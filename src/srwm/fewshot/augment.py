"""Random augmentation of a batch of images, on the images' own device."""

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
    """Random changes of each image by itself, each factor uniform in plus or minus its limit."""

    RENAMED: ClassVar = {"colour": "color", "mirror": "hflip", "shift": "translate"}

    degrees: Annotated[float, AtLeast(0)] = 10.0
    """rotation, degrees"""
    scale: Annotated[float, HalfOpen(0, 1)] = 0.15
    """scaling, as a fraction of the size"""
    shear: Annotated[float, AtLeast(0)] = 0.15
    """horizontal shear: shift of a row per unit of its height"""
    translate: Annotated[float, AtLeast(0)] = 1.7 / 28
    """translation, as a fraction of the width and height"""
    elastic: Annotated[float, AtLeast(0)] = 0.0
    """standard deviation of an elastic distortion, as a fraction of the width and height"""
    stroke: Annotated[float, AtLeast(0)] = 0.0
    """change of the width of strokes (bright on 0) in either direction, pixels; thin strokes do not vanish"""
    color: Annotated[float, HalfOpen(0, 1)] = 0.0
    """change of brightness, of contrast and of saturation, each as a fraction; for photographs"""
    hflip: bool = False
    """mirror each image left to right with probability 1/2; for photographs, not for characters"""
    outside: Literal["zeros", "reflection"] = "zeros"
    """padding of transformed images: zeros (black), or the image mirrored at its edge"""


def augment(images: Tensor, config: AugmentationConfig, generator: torch.Generator | None = None) -> Tensor:
    """Rotate, scale, shear, shift and bend every image, change its strokes' width and its colors, by random amounts.

    Shapes: images (P, C, H, W) floating, in [0, 1] where colors change -> the same. The same generator state gives the same
    distortions.
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
    """Multiply the brightness of images, their distance from its mean, and that of their channels from gray; 0 to 1 are kept.

    Shapes: images (P, C, H, W) in [0, 1], factors (P) -> (P, C, H, W).
    """
    brightness, contrast, saturation = (factor[:, None, None, None] for factor in (brightness, contrast, saturation))
    gray = images.mean(1, keepdim=True)
    level = gray.mean((2, 3), keepdim=True)
    # one weighted sum: saturation * (image - gray) + contrast * (gray - level) + level, all of it times the brightness
    changed = images * (saturation * brightness) + (gray * (contrast - saturation) + level * (1 - contrast)) * brightness
    return changed.clamp_(0, 1)


def change_strokes(images: Tensor, amounts: Tensor) -> Tensor:
    """Make bright strokes on 0 wider (amount above 0) or thinner by about `amounts` pixels on either side.

    Parts of a pixel blend an image with its dilation or erosion. A thinned stroke gets its brightness back, so that none
    vanishes. Shapes: images (P, C, H, W) floating, amounts (P) -> (P, C, H, W).
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
    """Mean brightness weighted by itself: that of strokes, however few."""
    return (images**2).sum((1, 2, 3), keepdim=True) / images.sum((1, 2, 3), keepdim=True).clamp(min=1e-6)
