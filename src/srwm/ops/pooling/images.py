"""Shared code of the operators on images: which images the kernels support, and their memory format."""

import torch
from torch import Tensor

from srwm.ops.cpu.memory_pool import empty
from srwm.ops.operators import devices

CHANNELS = 16
"""The kernels support multiples of this number of channels."""


def fits(operator: str, images: Tensor) -> bool:
    """Whether the kernels support these images: contiguous or channels last, not empty, float32 or bfloat16, C a multiple of
    16.

    Args:
        operator: the operator's name in `torch.library`, without `srwm::`.
        images: (N, C, H, W).

    Returns:
        True if they do.
    """
    return (
        images.dim() == 4
        and images.layout == torch.strided
        and images.dtype in (torch.float32, torch.bfloat16)
        and images.shape[1] % CHANNELS == 0
        and min(images.shape) > 0
        and images.device.type in devices(operator)
    )


def channels_last(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialized tensor for images, channels last.

    Args:
        like: an input of the operator.
        shape: (N, C, H, W).
        dtype: the dtype.

    Returns:
        The tensor.
    """
    return empty(like, shape, dtype, torch.channels_last)
