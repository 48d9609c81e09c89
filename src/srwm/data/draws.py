"""Random numbers that are float32 and on the CPU, whatever PyTorch's defaults are."""

import torch
from torch import Tensor


def uniform(*size: int, generator: torch.Generator | None) -> Tensor:
    """Numbers from 0 to 1, of shape `size`; None draws from PyTorch's own generator.

    Args:
        *size: the shape.
        generator: the source of randomness; None: PyTorch's own generator.

    Returns:
        The numbers, float32 on the CPU.
    """
    return torch.rand(size, generator=generator, dtype=torch.float32, device="cpu")


def normal(*size: int, generator: torch.Generator | None) -> Tensor:
    """Numbers of mean 0 and deviation 1, of shape `size`; None draws from PyTorch's own generator.

    Args:
        *size: the shape.
        generator: the source of randomness; None: PyTorch's own generator.

    Returns:
        The numbers, float32 on the CPU.
    """
    return torch.randn(size, generator=generator, dtype=torch.float32, device="cpu")
