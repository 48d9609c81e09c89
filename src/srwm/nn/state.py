"""States of layers: pytrees of tensors, batch axis first.

None is a fresh state. A fresh state is zeros in every layer, so any state can be reset without knowing its layer.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from srwm.ops.checks import check_shape, shape_or_type

State: TypeAlias = Any
"""A tensor, or a tuple of states."""

Shape: TypeAlias = "torch.Size | tuple[Shape, ...]"
"""The shape of a tensor, or a tuple of shapes, for one batch element of a state."""


def map_state(function: Callable[[Tensor], Tensor], state: State) -> State:
    """Apply a function to each tensor of a state.

    Args:
        function: from tensor to tensor.
        state: the state.

    Returns:
        A state of the same structure; None stays None.
    """
    if isinstance(state, Tensor):
        return function(state)
    return tuple(map_state(function, part) for part in state)


def leaves(state: State) -> list[Tensor]:
    """The tensors of a state, in order; None holds no tensor.

    Args:
        state: the state.

    Returns:
        The tensors.
    """
    if isinstance(state, Tensor):
        return [state]
    return [] if state is None else [leaf for part in state for leaf in leaves(part)]


def detach(state: State) -> State:
    """The state cut from its graph, for truncated backpropagation; None stays None.

    Args:
        state: the state.

    Returns:
        The same values without a graph.
    """
    return None if state is None else map_state(Tensor.detach, state)


def index(state: State, which: Tensor | slice) -> State:
    """The state of the chosen batch elements; None stays None.

    Args:
        state: a state of B batch elements.
        which: a slice, bools (B,) or integers (B',).

    Returns:
        The state of the chosen elements.

    Raises:
        ValueError: `which` is something else.
    """
    if not isinstance(which, slice) and not (isinstance(which, Tensor) and which.dim() == 1):
        raise ValueError(f"which: expected a slice, bools (B,) or integers (B',), got {shape_or_type(which)}")
    return None if state is None else map_state(lambda part: part[which], state)


def reset(state: State, which: Tensor) -> State:
    """The state with the chosen batch elements reset; None stays None.

    Args:
        state: a state of B batch elements.
        which: (B,) bool; True: this element becomes fresh.

    Returns:
        The state, zero in the chosen elements.

    Raises:
        ValueError: `which` has another shape or dtype.
    """

    def cleared(part: Tensor) -> Tensor:
        check_shape("which", which, "(B,)", part.shape[:1])
        if which.dtype is not torch.bool:
            raise ValueError(f"which: expected dtype torch.bool, got {which.dtype}")
        return part.masked_fill(which.view(-1, *[1] * (part.dim() - 1)), 0)

    return None if state is None else map_state(cleared, state)
