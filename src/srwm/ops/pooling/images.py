"""What the operators on images share: which images the kernels take, and how those lie in memory."""

import torch
from torch import Tensor

from srwm.ops.cpu.memory_pool import empty
from srwm.ops.operators import devices

CHANNELS = 16
"""The kernels take multiples of so many channels."""


def fits(operator: str, images: Tensor) -> bool:
    """Whether the kernels take images (N, C, H, W): dense, not empty, float32 or bfloat16, C a multiple of 16."""
    return (
        images.dim() == 4
        and images.layout == torch.strided
        and images.dtype in (torch.float32, torch.bfloat16)
        and images.shape[1] % CHANNELS == 0
        and min(images.shape) > 0
        and images.device.type in devices(operator)
    )


def channels_last(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory for images (N, C, H, W) of any content, channels last."""
    return empty(like, shape, dtype, torch.channels_last)
