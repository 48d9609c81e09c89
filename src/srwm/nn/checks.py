"""Checks of the arguments of layers. Each error names the argument, what was expected and what was given."""

from collections.abc import Iterator
from numbers import Integral

import torch
from torch import Tensor

from srwm.nn.state import Shape, State
from srwm.ops.checks import shape_or_type


def check_input(x: Tensor, axes: str, d_input: int, parameters: Iterator[Tensor]) -> None:
    """Check that x is (B, T, d_input) and has the dtype of the parameters.

    Args:
        x: the inputs.
        axes: the names of the first two axes, for the message, such as "B, T".
        d_input: the width of the input.
        parameters: the layer's parameters.

    Raises:
        ValueError: x has another shape or dtype.
    """
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != d_input:
        batch, steps = axes.split()
        raise ValueError(f"x: expected ({batch}, {steps}, {d_input}), got {shape_or_type(x)}")
    if x.dtype is not torch.float32:  # float32 needs no check: this saves looking up the weights at every step
        check_dtype(x, parameters)


def check_dtype(x: Tensor, parameters: Iterator[Tensor]) -> None:
    """Check that x has the dtype of the first parameter, unless autocast converts it.

    Args:
        x: the inputs.
        parameters: the layer's parameters.

    Raises:
        ValueError: x has another dtype.
    """
    weights, kind = next(parameters, x), x.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if x.dtype is not weights.dtype and not autocast:
        raise ValueError(f"x: expected {weights.dtype} as the weights have, or autocast, got {x.dtype}")


def check_state(state: State, shape: Shape, batch_size: int, name: str = "state") -> None:
    """Check that a state has the expected structure and shapes.

    Args:
        state: the state of a layer.
        shape: `state_shape` of the layer, for one batch element.
        batch_size: number of batch elements B.
        name: the argument's name, for the message.

    Raises:
        ValueError: it has others; the message names the part.
    """
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
    """Check that values are whole numbers.

    Args:
        **numbers: the values by name.

    Raises:
        ValueError: one is not; the message names the first.
    """
    for name, given in numbers.items():
        if not isinstance(given, Integral):
            raise ValueError(f"{name}: expected a whole number, got {given!r}")


def head_dim(d_model: int, num_heads: int) -> int:
    """The width E of one head.

    Args:
        d_model: width of the layer.
        num_heads: number of heads.

    Returns:
        E = d_model / num_heads.

    Raises:
        ValueError: num_heads does not divide d_model.
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
