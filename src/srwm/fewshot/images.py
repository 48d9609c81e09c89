"""Images as models take them: in [0, 1], normalised where their data set is."""

import torch
from torch import Tensor

from srwm.data import ImageClasses

IMAGES_AT_ONCE = 32
"""Of those that a model embeds outside training: of more photographs the C allocator takes each buffer from the system anew."""


def to_float(images: Tensor) -> Tensor:
    """Images uint8 in 0 ... 255 -> float32 in [0, 1], channels last in memory."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def standardise(images: Tensor, normalisation: Tensor | None) -> Tensor:
    """Images (P, C, H, W) in [0, 1] less the means and over the deviations, (P or 1, 2, C); None leaves them as they are."""
    if normalisation is None:
        return images
    mean, deviation = normalisation[..., None, None].unbind(1)
    return (images - mean) / deviation


def to_input(images: Tensor, data: ImageClasses) -> Tensor:
    """Images uint8 (P, C, H, W) of a data set as models take them: in [0, 1], or normalised where the data set is."""
    statistics = None if data.normalisation is None else torch.from_numpy(data.normalisation)[None].to(images.device)
    return standardise(to_float(images), statistics)
