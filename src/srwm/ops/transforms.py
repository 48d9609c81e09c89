"""The transforms that PyTorch applies to a call. No other module uses PyTorch's private interface for this."""

import torch
from torch import Tensor


def transforming() -> bool:
    """Whether a torch.func transform or forward-mode differentiation is active; compiled kernels support neither.

    Returns:
        True while one is active.
    """
    return not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
    )


def traced(tensor: Tensor) -> bool:
    """Whether a compiler, an exporter or torch.jit.trace records the operations on `tensor`.

    Args:
        tensor: an input of the operations.

    Returns:
        True if they are recorded.
    """
    return type(tensor) is not Tensor or torch.compiler.is_compiling() or torch._C._is_tracing()
