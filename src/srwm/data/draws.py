"""Random numbers that are float32 and on the CPU, whatever PyTorch's defaults are."""

from collections.abc import Sequence

import numpy as np
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


def count_to(number: int) -> Tensor:
    """The whole numbers from 0 to number - 1, int64 on the CPU."""
    return torch.arange(number, dtype=torch.long, device="cpu")


def seeded(*key: int) -> torch.Generator:
    """A generator for a purpose. Those of different keys are independent.

    Generators of `manual_seed` are not: seeds that agree in their last 32 bits give the same numbers.

    Args:
        *key: whole numbers from 0.

    Returns:
        The generator, on the CPU.
    """
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


class Draws:
    """Random numbers from one generator, as float32 and int64 on the CPU, whatever PyTorch's defaults are.

    Args:
        *key: seeds of the generator, whole numbers from 0; those of different keys are independent.
    """

    def __init__(self, *key: int) -> None:
        self.generator = seeded(*key)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float32, device="cpu")

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers uniform in [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float32, device="cpu")

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Numbers whose logarithm is uniform, in [low, high)."""
        return low * (high / low) ** self.uniform(*shape)

    def integers(self, *shape: int, low: int = 0, high: int) -> Tensor:
        """Whole numbers from low to high - 1."""
        return torch.randint(low, high, shape, generator=self.generator, dtype=torch.long, device="cpu")

    def below(self, limits: Tensor) -> Tensor:
        """Whole numbers from 0 to limit - 1, in the shape of the limits."""
        return (self.uniform(*limits.shape) * limits).long().clamp(max=limits - 1)

    def happens(self, probability: float | Tensor, *shape: int) -> Tensor:
        """Events of this probability: bool."""
        return self.uniform(*shape) < probability

    def choice(self, weights: Sequence[float], *shape: int) -> Tensor:
        """Indices with these relative weights."""
        edges = torch.tensor(weights, dtype=torch.float32, device="cpu").cumsum(0)
        return torch.searchsorted(edges, self.uniform(*shape) * edges[-1], right=True).clamp(max=len(weights) - 1)

    def order(self, *shape: int) -> Tensor:
        """Random permutations along the last axis."""
        return self.uniform(*shape).argsort(-1)

    def subset(self, batch: int, sizes: Tensor, of: Tensor, width: int) -> Tensor:
        """Random subsets of the first `of` of `width` places: (batch, width) bool with min(sizes, of) members each."""
        keys = self.uniform(batch, width).masked_fill(count_to(width) >= of[:, None], 2.0)
        return keys.argsort(1).argsort(1) < torch.minimum(sizes, of)[:, None]
