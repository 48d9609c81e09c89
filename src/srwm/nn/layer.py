"""The interface that all recurrent layers share: cores, blocks and stacks."""

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from srwm.nn.checks import check_dtype, check_input, check_state
from srwm.nn.config import Option, StackConfig
from srwm.nn.state import Shape, State
from srwm.ops.checks import check_flags, check_shape

_SIZES = ("d_model", "d_input", "num_heads", "backend")
"""Constructor arguments that a core gets from the fields of the same name in `StackConfig`, if it has them."""


class Layer(nn.Module, ABC):
    """A recurrent layer whose state is an argument and a result, never an attribute.

    Processing a sequence in pieces, each with the state that the previous piece returned, is equal to processing it whole.

    Args:
        d_model: width of the output.
        d_input: width of the input; None is d_model.
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
        """Run over a sequence, or over a piece of one.

        Args:
            x: inputs (B, T, d_input).
            state: tensors shaped as in `state_shape` with B in front; None is a fresh state.
            resets: (B, T) bool. True: the state is fresh before this step.
            mask: (B, T) bool. False: a padded step, which neither reads nor writes the state. A reset there still resets.

        Returns:
            y (B, T, d_model), zero at masked steps, and the state after the last step.

        Raises:
            ValueError: a shape, a dtype or the state does not fit.
        """
        check_input(x, "B T", self.d_input, self.parameters())
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
            check_dtype(x, self.parameters())
            raise

    def query(self, x: Tensor, state: State | None = None) -> Tensor:
        """Evaluate Q independent queries, each as if it were the one next step from this state. The state does not change.

        Args:
            x: queries (B, Q, d_input).
            state: as in `forward`.

        Returns:
            y (B, Q, d_model).

        Raises:
            ValueError: a shape, a dtype or the state does not fit.
        """
        check_input(x, "B Q", self.d_input, self.parameters())
        if state is None:
            state = self.initial_state(len(x))
        check_state(state, self.state_shape, len(x))
        try:
            return self._query(x, state)
        except RuntimeError:
            check_dtype(x, self.parameters())
            raise

    def forward_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Run over a sequence, and evaluate a query before each step, as `query` does with the state at that time.

        Cores for which `queries_in_parallel` is False are computed step by step, which is slow.

        Args:
            x: inputs (B, T, d_input).
            queries: queries (B, T, d_input); number t is evaluated from the state before step t.
            state: as in `forward`.
            mask: as in `forward`, for the steps; a query is evaluated at masked steps, too.

        Returns:
            y (B, T, d_model) as from `forward`, the queries' y (B, T, d_model), and the state after the last step.

        Raises:
            ValueError: a shape, a dtype or the state does not fit.
        """
        check_input(x, "B T", self.d_input, self.parameters())
        check_input(queries, "B T", self.d_input, self.parameters())
        check_shape("queries", queries, "(B, T, d_input)", x.shape)
        check_flags("mask", mask, x)
        if state is not None:
            check_state(state, self.state_shape, len(x))
        try:
            if mask is None:
                return self._run_with_queries(x, queries, state, mask)
            padding = ~mask[..., None]
            y, answers, state = self._run_with_queries(x.masked_fill(padding, 0), queries, state, mask)
            return y.masked_fill(padding, 0), answers, state
        except RuntimeError:
            check_dtype(x, self.parameters())
            raise

    def _run_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """`forward_with_queries` on checked arguments."""
        state = self.initial_state(len(x)) if state is None else state
        empty = x.new_empty(len(x), 0, self.d_model)
        steps, answers = [empty], [empty]
        for t in range(x.shape[1]):
            answers.append(self._query(queries[:, t : t + 1], state))
            y, state = self._run(x[:, t : t + 1], state, None, None if mask is None else mask[:, t : t + 1])
            steps.append(y)
        return torch.cat(steps, 1), torch.cat(answers, 1), state

    def initial_state(self, batch_size: int) -> State:
        """A fresh state: zeros, float32 (float64 in a float64 layer), on the layer's device.

        Args:
            batch_size: number of batch elements B.

        Returns:
            The state; each tensor begins with the batch axis.
        """
        anchor = self._anchor()
        dtype = torch.promote_types(anchor.dtype, torch.float32)

        def zeros(shape: Shape) -> State:
            if isinstance(shape, torch.Size):
                return anchor.new_zeros((batch_size, *shape), dtype=dtype)
            return tuple(zeros(part) for part in shape)

        return zeros(self.state_shape)

    def _anchor(self) -> Tensor:
        """A tensor with the dtype and device of the layer; of a layer without weights, float32 on the CPU."""
        weights = next(self.parameters(), None)
        return torch.empty(0, dtype=torch.float32, device="cpu") if weights is None else weights


class Core(Layer):
    """The recurrent part of a block, without norm and residual connection.

    The options of a core are the keyword-only arguments of its constructor, except `backend`. Each has a default of type bool,
    int, float or str. `StackConfig.core_options` sets them by name.
    """

    pre_norm: ClassVar[bool] = True
    """Whether a block normalizes the core's input h; otherwise the norm is on the residual connection."""

    queries_in_parallel: ClassVar[bool] = False
    """Whether `forward_with_queries` is computed for all steps at once."""

    resizes: ClassVar[bool] = False
    """Whether d_input may differ from d_model."""

    def extra_repr(self) -> str:
        """The arguments of the constructor, for `repr`.

        Returns:
            The arguments as text.
        """
        given = inspect.signature(type(self)).parameters
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in given if hasattr(self, name))

    @classmethod
    def default_options(cls) -> dict[str, Option]:
        """The core's options by name, with their default values.

        Returns:
            The default values by name.
        """
        arguments = inspect.signature(cls).parameters.values()
        return {each.name: each.default for each in arguments if each.kind is each.KEYWORD_ONLY and each.name not in _SIZES}

    @classmethod
    def from_config(cls, config: StackConfig) -> Self:
        """Build the core from a configuration.

        Args:
            config: the stack's configuration.

        Returns:
            The core.

        Raises:
            ValueError: the core has no such option, its value is of another type, or the sizes do not fit.
        """
        taken = inspect.signature(cls).parameters
        arguments: dict[str, Any] = {name: getattr(config, name) for name in _SIZES if name in taken}
        return cls(**arguments, **cls._checked_options(config.core_options))

    @classmethod
    def _checked_options(cls, given: dict[str, Option]) -> dict[str, Any]:
        defaults = cls.default_options()
        for name, value in given.items():
            if name not in defaults:
                raise ValueError(f"core_options: expected {_listed(defaults)} for {cls.__name__}, got {name}")
            wanted = type(defaults[name])
            if type(value) is not wanted and (wanted is not float or type(value) is not int):
                raise ValueError(f"core_options: expected {name} of type {wanted.__name__}, got {value!r}")
        return {name: float(value) if isinstance(defaults[name], float) else value for name, value in given.items()}


def _listed(names: dict[str, Option]) -> str:
    return " or ".join(names) or "no options"
