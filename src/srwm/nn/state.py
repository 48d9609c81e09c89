"""What a layer carries from step to step: a pytree of tensors with the batch axis first.

None means "fresh" and stands for zeros everywhere; so every state can be reset, whatever layer it belongs to.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

State: TypeAlias = Any
"""A tensor, or a tuple of states."""

Shape: TypeAlias = "torch.Size | tuple[Shape, ...]"
"""The shape of a tensor, or a tuple of shapes, for one batch element of a state."""


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """The state with `function` applied to each of its tensors."""
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(function, part) for part in state)


def detach(state: State) -> State:
    """The state cut from the graph that made it, as truncated backpropagation needs it; None stays None."""
    return None if state is None else map_state(Tensor.detach, state)


def index(state: State, which: Tensor | slice) -> State:
    """The state of the chosen batch elements; `which` is a slice, a bool (B,) or integers (B',)."""
    return map_state(lambda part: part[which], state)


def reset(state: State, which: Tensor) -> State:
    """The state, fresh again in the batch elements where `which` (B,) bool is True."""
    return map_state(lambda part: part.masked_fill(which.view(-1, *[1] * (part.dim() - 1)), 0), state)
