"""Conversion of images to the input of models: in [0, 1], normalized if their data set is."""

from collections.abc import Callable

import torch
from torch import Tensor

from srwm.data import ImageClasses

_AT_ONCE = 32
"""Images per batch. Conv-4's largest activation of photographs (84x84, 32 channels, float32) then has 28 MiB; glibc by default
maps buffers of 32 MiB and more again at every allocation, which is slow."""


def map_batched(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Apply a function to batches of rows, and concatenate the results.

    Args:
        function: from (P', ...) to (P', ...).
        rows: (P, ...), images or positions of images.

    Returns:
        (P, ...).
    """
    return torch.cat([function(part) for part in torch.split(rows, _AT_ONCE)])


def to_float(images: Tensor) -> Tensor:
    """Images uint8 in 0 ... 255 -> float32 in [0, 1], channels last in memory.

    Args:
        images: (N, C, H, W) uint8.

    Returns:
        (N, C, H, W) float32.
    """
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def standardize(images: Tensor, normalization: Tensor | None) -> Tensor:
    """Subtract the mean from images and divide by the standard deviation.

    Args:
        images: (P, C, H, W) in [0, 1].
        normalization: mean and standard deviation (P or 1, 2, C); None: images are not changed.

    Returns:
        (P, C, H, W).
    """
    if normalization is None:
        return images
    mean, deviation = normalization[..., None, None].unbind(1)
    return (images - mean) / deviation


def to_input(images: Tensor, data: ImageClasses) -> Tensor:
    """Convert the images of a data set to the input of models: in [0, 1], or normalized if the data set is.

    Args:
        images: (P, C, H, W) uint8.
        data: the data set.

    Returns:
        (P, C, H, W) float32.
    """
    statistics = None if data.normalization is None else torch.from_numpy(data.normalization)[None].to(images.device)
    return standardize(to_float(images), statistics)
