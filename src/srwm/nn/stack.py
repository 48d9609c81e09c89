"""Blocks around a core, and stacks of blocks."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast, get_args

import torch
from torch import Tensor, nn

from srwm.nn.checks import check_whole
from srwm.nn.config import Carry, Residual, StackConfig
from srwm.nn.feed_forward import FeedForward
from srwm.nn.layer import Core, Layer
from srwm.nn.registry import build_core
from srwm.nn.state import Shape, State, reset
from srwm.ops.backend import check_backend
from srwm.ranges import check_ranges


class Block(Layer):
    """A core with a residual connection, then the feed-forward sub-layer; the state is the core's.

    Args:
        core: the recurrent part.
        residual: the residual connection; see `StackConfig.residual`.
        ff_factor: width of the feed-forward sub-layer in units of d_model; 0 leaves the sub-layer out.
        dropout: probability of dropout on the core's output and within the feed-forward sub-layer.

    Raises:
        ValueError: there is no such residual, or ff_factor is negative.
    """

    def __init__(self, core: Core, *, residual: Residual = "norm", ff_factor: int = 4, dropout: float = 0.0) -> None:
        super().__init__(core.d_model, core.d_input)
        if residual not in get_args(Residual):
            raise ValueError(f"residual: expected one of {', '.join(get_args(Residual))}, got {residual!r}")
        if ff_factor < 0:
            raise ValueError(f"ff_factor: expected 0 or more, got {ff_factor}")
        self.core = core
        self.residual = residual
        has_norm = residual == "norm" or (residual == "input" and core.pre_norm)
        self.norm = nn.LayerNorm(core.d_model) if has_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = FeedForward(core.d_model, ff_factor * core.d_model, dropout) if ff_factor else nn.Identity()

    @property
    def state_shape(self) -> Shape:
        """Shapes of the core's state of one batch element."""
        return self.core.state_shape

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        normed = self.norm(x)
        y, state = self.core(normed if self.core.pre_norm else x, state, resets, mask)
        return self._join(x, normed, y), state

    def _query(self, x: Tensor, state: State) -> Tensor:
        normed = self.norm(x)
        return self._join(x, normed, self.core.query(normed if self.core.pre_norm else x, state))

    def _run_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        normed, normed_queries = self.norm(x), self.norm(queries)
        steps, asked = (normed, normed_queries) if self.core.pre_norm else (x, queries)
        y, answers, state = self.core.forward_with_queries(steps, asked, state, mask)
        return self._join(x, normed, y), self._join(queries, normed_queries, answers), state

    def _join(self, x: Tensor, normed: Tensor, y: Tensor) -> Tensor:
        y = self.dropout(y)
        if self.residual != "none":
            y = y + (x if self.core.pre_norm else normed)
        y = self.feed_forward(y)
        return y


class Stack(Layer):
    """Blocks one after the other, built from a configuration.

    The state is the tuple of the blocks' states. With `carry="unroll"` it also has a tensor (B,) that counts the steps since
    the last reset by `unroll_length`. Masked steps do not count. `resets` do not restart the count, so pieces of length
    `unroll_length` stay aligned with it.

    Args:
        config: core, sizes and residual connection.

    Raises:
        ValueError: a name in the configuration is unknown, or sizes or options do not fit.
    """

    def __init__(self, config: StackConfig) -> None:
        _check(config)
        super().__init__(config.d_model, config.d_input)
        self.config = config
        first, rest = config, replace(config, d_input=None)
        self.blocks = nn.ModuleList(
            Block(
                build_core(first if i == 0 else rest),
                residual=config.residual,
                ff_factor=config.ff_factor,
                dropout=config.dropout,
            )
            for i in range(config.num_layers)
        )

    @property
    def state_shape(self) -> tuple[Shape, ...]:
        """Shapes of the blocks' states of one batch element, then of the step count, if there is one."""
        shapes = tuple(block.state_shape for block in self._layers())
        return shapes if self.config.unroll_length is None else (*shapes, torch.Size(()))

    def initial_state(self, batch_size: int) -> State:
        """A fresh state, on the stack's device.

        Args:
            batch_size: number of batch elements B.

        Returns:
            The state; each tensor begins with the batch axis.
        """
        states = tuple(block.initial_state(batch_size) for block in self._layers())
        if self.config.unroll_length is None:
            return states
        return (*states, self._anchor().new_zeros(batch_size, dtype=torch.long))

    def _layers(self) -> Iterator[Block]:
        return cast("Iterator[Block]", iter(self.blocks))

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        before: list[State] = [None] * len(self.blocks) if state is None else list(state)
        carried: tuple[Tensor, ...] = ()
        if self.config.carry != "always":
            begins = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
            if self.config.unroll_length is not None:
                count = x.new_zeros(len(x), dtype=torch.long) if state is None else before.pop()
                begins, count = _unroll(count, begins, self.config.unroll_length)
                carried = (count,)
            resets = begins if resets is None else begins | resets
        after = []
        for block, block_state in zip(self._layers(), before, strict=True):
            x, block_state = block(x, block_state, resets, mask)
            after.append(block_state)
        return x, (*after, *carried)

    def _query(self, x: Tensor, state: State) -> Tensor:
        states = list(state)
        if self.config.carry == "never":
            everywhere = torch.ones(len(x), dtype=torch.bool, device=x.device)
            states = [reset(part, everywhere) for part in states]
        elif self.config.unroll_length is not None:
            begins = states.pop() == 0
            states = [reset(part, begins) for part in states]
        for block, block_state in zip(self._layers(), states, strict=True):
            x = block.query(x, block_state)
        return x

    def _run_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        if self.config.carry != "always":
            return super()._run_with_queries(x, queries, state, mask)
        after = []
        for block, block_state in zip(self._layers(), [None] * len(self.blocks) if state is None else state, strict=True):
            x, queries, block_state = block.forward_with_queries(x, queries, block_state, mask)
            after.append(block_state)
        return x, queries, tuple(after)


def _unroll(count: Tensor, real: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Where an unroll begins among the real steps, and the count after them: count (B,), real (B, T) bool."""
    steps = real.long()
    position = count[:, None] + steps.cumsum(1) - steps
    return real & (position % length == 0), (count + steps.sum(1)) % length


def _check(config: StackConfig) -> None:
    check_backend(config.backend)  # a core without operations does not check it
    if config.carry not in get_args(Carry):
        raise ValueError(f"carry: expected one of {', '.join(get_args(Carry))}, got {config.carry!r}")
    sizes = {name: getattr(config, name) for name in ("d_model", "num_heads", "num_layers", "ff_factor")}
    optional = {name: getattr(config, name) for name in ("unroll_length", "d_input") if getattr(config, name) is not None}
    check_whole(**sizes, **optional)
    check_ranges(config)
    if (config.carry == "unroll") != (config.unroll_length is not None):
        raise ValueError(f"unroll_length: expected a number exactly if carry is 'unroll', got {config.unroll_length}")
    if config.num_layers == 0 and config.d_input not in (None, config.d_model):
        raise ValueError(f"num_layers: expected 1 or more, so that d_input = {config.d_input} becomes d_model, got 0")
