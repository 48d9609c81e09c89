"""What the operators on images share: which images the kernels take, and how those lie in memory."""

import torch
from torch import Tensor

from srwm.ops.native import library
from srwm.ops.native.operators import empty, transforming

CHANNELS = 16
"""The kernels take multiples of so many channels."""


def fits(images: Tensor) -> bool:
    """Whether the kernels take images (N, C, H, W): dense, on the CPU, float32 or bfloat16, C a multiple of 16, and some."""
    return (
        images.dim() == 4
        and images.layout == torch.strided
        and images.dtype in (torch.float32, torch.bfloat16)
        and images.shape[1] % CHANNELS == 0
        and min(images.shape) > 0
        and images.is_cpu
    )


def reachable(images: Tensor) -> bool:
    """Whether a layer should call the kernels: not while it is traced or transformed, nor where there is no library.

    A compiler knows PyTorch's own operations better, and transforms know these alone.
    """
    return (
        library.LIBRARY is not None
        and type(images) is Tensor
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and not transforming()
    )


def channels_last(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory for images (N, C, H, W) of any content, channels last."""
    return empty(like, shape, dtype, torch.channels_last)
