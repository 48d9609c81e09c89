"""A bound on the matrices of a memory, which would otherwise grow over long streams."""

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from srwm.nn import Block, Stack, State
from srwm.nn.state import Shape


class MemoryBound(nn.Module):
    """Scales the matrix of each head back to a norm, where it is larger. The norms are trained.

    Of a block's state the first tensor counts: the shift of a self-referential core, the fast matrices of others.

    Args:
        stack: the stack whose memory is bounded.
        init: the initial Frobenius norm.
    """

    def __init__(self, stack: Stack, init: float) -> None:
        super().__init__()
        blocks = list(cast("Iterable[Block]", stack.blocks))
        self._is_bounded = [has_matrices(block.state_shape) for block in blocks]
        bounded = [block for block, is_bounded in zip(blocks, self._is_bounded, strict=True) if is_bounded]
        self.log_norms = nn.ParameterList(
            next(block.parameters()).detach().new_full((_first(block.state_shape)[0],), math.log(init)) for block in bounded
        )

    def forward(self, memory: State, which: Tensor) -> State:
        """Bound the memory of some streams.

        Args:
            memory: the state of the stack.
            which: the streams to bound (B,) bool.

        Returns:
            The bounded state.
        """
        limits = iter(self.log_norms)
        return tuple(
            self._bounded(part, next(limits), which) if is_bounded else part
            for part, is_bounded in zip(memory, self._is_bounded, strict=True)
        )

    @staticmethod
    def _bounded(part: State, log_norm: Tensor, which: Tensor) -> State:
        matrices, *rest = part if isinstance(part, tuple) else (part,)
        norm = torch.linalg.vector_norm(matrices, dim=(2, 3))
        factor = (log_norm.exp() / norm.clamp(min=1e-6)).clamp(max=1).masked_fill(~which[:, None], 1)
        matrices = matrices * factor[..., None, None]
        return (matrices, *rest) if isinstance(part, tuple) else matrices


def has_matrices(shape: Shape) -> bool:
    """Whether the first tensor of a state holds a matrix per head.

    Args:
        shape: the shape of the state of one batch element.

    Returns:
        True if it is (heads, rows, columns).
    """
    return len(_first(shape)) == 3


def _first(shape: Shape) -> torch.Size:
    while not isinstance(shape, torch.Size):
        if not shape:
            return torch.Size()
        shape = shape[0]
    return shape
