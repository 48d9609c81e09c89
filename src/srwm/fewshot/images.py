"""Images as models take them: in [0, 1], normalized where their data set is."""

from collections.abc import Callable

import torch
from torch import Tensor

from srwm.data import ImageClasses

_AT_ONCE = 32
"""So few that Conv-4's largest activation of photographs (84x84, 32 channels, float32) has 28 MiB: glibc by default maps
buffers of 32 MiB and more anew each time."""


def map_batched(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """What a function makes of rows (P, ...) of images, or of their positions, a few at a time: (P, ...)."""
    return torch.cat([function(part) for part in torch.split(rows, _AT_ONCE)])


def to_float(images: Tensor) -> Tensor:
    """Images uint8 in 0 ... 255 -> float32 in [0, 1], channels last in memory."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def standardize(images: Tensor, normalization: Tensor | None) -> Tensor:
    """Images (P, C, H, W) in [0, 1] less the means and over the deviations, (P or 1, 2, C); None leaves them as they are."""
    if normalization is None:
        return images
    mean, deviation = normalization[..., None, None].unbind(1)
    return (images - mean) / deviation


def to_input(images: Tensor, data: ImageClasses) -> Tensor:
    """Images uint8 (P, C, H, W) of a data set as models take them: in [0, 1], or normalized where the data set is."""
    statistics = None if data.normalization is None else torch.from_numpy(data.normalization)[None].to(images.device)
    return standardize(to_float(images), statistics)
