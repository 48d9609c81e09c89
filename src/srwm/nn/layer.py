"""The one interface of everything recurrent: cores, blocks and stacks."""

import inspect
from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from srwm.nn.checks import check_dtype, check_input, check_state
from srwm.nn.config import StackConfig
from srwm.nn.state import Shape, State
from srwm.ops.checks import check_flags


class Layer(nn.Module, ABC):
    """A map of sequences with a state that the caller holds.

    Feeding a sequence in pieces, each with the state that the last one returned, gives what the whole sequence gives.
    """

    def __init__(self, d_model: int, d_input: int | None = None) -> None:
        super().__init__()
        self.d_model = d_model
        self.d_input = d_model if d_input is None else d_input

    @property
    @abstractmethod
    def state_shape(self) -> Shape:
        """Shapes of the state of one batch element."""

    @abstractmethod
    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """`forward` on checked arguments; x is zero at masked steps, y may be anything there."""

    @abstractmethod
    def _query(self, x: Tensor, state: State) -> Tensor:
        """`query` on checked arguments."""

    def forward(
        self, x: Tensor, state: State | None = None, resets: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run over a sequence, or a piece of one.

        Shapes: x (B, T, d_input); resets and mask (B, T) bool, or None; state as `state_shape` with B in front, or None for a
        fresh one. At a reset the state is fresh before x_t is read. A masked step (False) neither reads nor writes the state,
        though a reset there still counts. Returns y (B, T, d_model), zero at masked steps, and the state after the last step.
        Raises ValueError for shapes, a dtype or a state that do not fit.
        """
        check_input(x, "B T", self)
        check_flags("resets", resets, x)
        check_flags("mask", mask, x)
        if state is not None:
            check_state(state, self.state_shape, len(x))
        try:
            if mask is None:
                return self._run(x, state, resets, mask)
            padding = ~mask[..., None]
            y, state = self._run(x.masked_fill(padding, 0), state, resets, mask)
            return y.masked_fill(padding, 0), state
        except RuntimeError:
            check_dtype(x, self)
            raise

    def query(self, x: Tensor, state: State | None = None) -> Tensor:
        """Answer Q independent queries, each as if it were the one next step from this state.

        Shapes: x (B, Q, d_input), state as in `forward`; returns y (B, Q, d_model). The state stays as it is.
        Raises ValueError for shapes, a dtype or a state that do not fit.
        """
        check_input(x, "B Q", self)
        if state is None:
            state = self.initial_state(len(x))
        check_state(state, self.state_shape, len(x))
        try:
            return self._query(x, state)
        except RuntimeError:
            check_dtype(x, self)
            raise

    def initial_state(self, batch_size: int) -> State:
        """A fresh state: zeros, float32 (float64 in a float64 layer), on the layer's device."""
        anchor = next(self.parameters(), torch.empty(0))
        dtype = torch.promote_types(anchor.dtype, torch.float32)

        def zeros(shape: Shape) -> State:
            if isinstance(shape, torch.Size):
                return anchor.new_zeros((batch_size, *shape), dtype=dtype)
            return tuple(zeros(part) for part in shape)

        return zeros(self.state_shape)


class Core(Layer):
    """A layer that a block is built around: the memory itself, without norm and residual path."""

    pre_norm: ClassVar[bool] = True
    """Whether a block normalizes what the core reads; else the core reads h itself, and the norm is on the residual path."""

    resizes: ClassVar[bool] = False
    """Whether d_input may differ from d_model."""

    def extra_repr(self) -> str:
        """What the core was built with."""
        given = inspect.signature(type(self)).parameters
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in given if hasattr(self, name))

    @classmethod
    @abstractmethod
    def from_config(cls, config: StackConfig) -> Self:
        """The core that the configuration describes."""
