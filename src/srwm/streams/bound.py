"""A bound on the shift of self-referential matrices, which would otherwise grow over long streams."""

import math

import torch
from torch import Tensor, nn

from srwm.nn import Core, SelfReferential, Stack, State


def grows(stack: Stack) -> bool:
    """Whether the state of a stack can grow without end.

    Args:
        stack: the stack.

    Returns:
        True if that of one of its cores can.
    """
    return any(isinstance(block.core, Core) and block.core.grows for block in stack.blocks)


class ShiftBound(nn.Module):
    """Scales the shift of each head back to a norm, where it is larger. The norms are trained.

    Args:
        stack: the stack whose memory is bounded.
        init: the initial norm.

    Raises:
        ValueError: another core's state grows without end.
    """

    def __init__(self, stack: Stack, init: float) -> None:
        super().__init__()
        cores = [block.core for block in stack.blocks]
        if grows(stack) and not any(isinstance(core, SelfReferential) for core in cores):
            raise ValueError(f"core: expected one whose state is bounded on streams of any length, got {stack.config.core!r}")
        self.log_norms = nn.ParameterList(
            torch.full((core.num_heads if isinstance(core, SelfReferential) else 0,), math.log(init), dtype=torch.float32)
            for core in cores
        )

    def forward(self, memory: State, which: Tensor) -> State:
        """Bound the memory of some streams.

        Args:
            memory: the state of the stack.
            which: the streams to bound (B,) bool.

        Returns:
            The bounded state.
        """
        return tuple(self._bounded(part, limits, which) for part, limits in zip(memory, self.log_norms, strict=True))

    @staticmethod
    def _bounded(part: State, log_norm: Tensor, which: Tensor) -> State:
        if not len(log_norm):
            return part
        shift, *rest = part if isinstance(part, tuple) else (part,)
        norm = torch.linalg.vector_norm(shift, dim=(2, 3))
        factor = torch.where(which[:, None], (log_norm.exp() / norm.clamp(min=1e-6)).clamp(max=1), 1.0)
        shift = shift * factor[..., None, None]
        return (shift, *rest) if isinstance(part, tuple) else shift
