"""Checks of what goes into a layer; each failure is one line: argument, wanted, got."""

from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from srwm.nn.state import Shape, State
from srwm.ops.checks import shape_or_type

if TYPE_CHECKING:
    from srwm.nn.layer import Layer


def check_input(x: Tensor, axes: str, layer: "Layer") -> None:
    """Check that x is a batch of sequences of vectors as the layer reads them."""
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != layer.d_input:
        batch, steps = axes.split()
        raise ValueError(f"x: expected ({batch}, {steps}, {layer.d_input}), got {shape_or_type(x)}")
    if x.dtype is not torch.float32:  # the usual one is not worth a search for the weights at every step
        check_dtype(x, layer)


def check_dtype(x: Tensor, layer: "Layer") -> None:
    """Check that x has the dtype of the layer's weights, where autocast does not see to that."""
    weights, kind = next(layer.parameters(), x), x.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if x.dtype is not weights.dtype and not autocast:
        raise ValueError(f"x: expected {weights.dtype} as the weights have, or autocast, got {x.dtype}")


def check_state(state: State, shape: Shape, batch_size: int, name: str = "state") -> None:
    """Check that the state has the structure and shapes that `shape` gives for one batch element."""
    if isinstance(shape, torch.Size):
        if not isinstance(state, Tensor):
            raise ValueError(f"{name}: expected a tensor {(batch_size, *shape)}, got {_describe(state)}")
        if state.shape != (batch_size, *shape):
            raise ValueError(f"{name}: expected {(batch_size, *shape)}, got {tuple(state.shape)}")
        if shape and not state.is_floating_point():  # a number for each batch element may be a count
            raise ValueError(f"{name}: expected a floating dtype, got {state.dtype}")
        return
    if not isinstance(state, tuple) or len(state) != len(shape):
        raise ValueError(f"{name}: expected a tuple of {len(shape)}, got {_describe(state)}")
    for i, (part, part_shape) in enumerate(zip(state, shape, strict=True)):
        check_state(part, part_shape, batch_size, f"{name}[{i}]")


def check_whole(**numbers: object) -> None:
    """Raise ValueError that names the first of these that is not a whole number."""
    for name, given in numbers.items():
        if not isinstance(given, Integral):
            raise ValueError(f"{name}: expected a whole number, got {given!r}")


def head_dim(d_model: int, num_heads: int) -> int:
    """The width of one head.

    Raises ValueError where the heads do not share d_model evenly.
    """
    check_whole(d_model=d_model, num_heads=num_heads)
    if num_heads < 1 or d_model < 1 or d_model % num_heads:
        raise ValueError(f"num_heads: expected a divisor of d_model = {d_model}, got {num_heads}")
    return d_model // num_heads


def _describe(state: object) -> str:
    if isinstance(state, Tensor):
        return f"a tensor {tuple(state.shape)}"
    if isinstance(state, tuple):
        return f"a tuple of {len(state)}"
    return type(state).__name__
