"""Checks of the arguments of operations. Each error names the argument, what was expected and what was given."""

import torch
from torch import Tensor


def check_shape(name: str, tensor: Tensor, letters: str, wanted: tuple[int, ...]) -> None:
    """Check that a tensor has exactly this shape.

    Args:
        name: the argument's name, for the message.
        tensor: the argument.
        letters: the shape in letters, for the message, such as "(B, T, H, E)".
        wanted: the shape.

    Raises:
        ValueError: it has another shape, or is no tensor.
    """
    if not isinstance(tensor, Tensor) or tensor.shape != wanted:
        raise ValueError(f"{name}: expected {letters} = {tuple(wanted)}, got {shape_or_type(tensor)}")


def check_rank(name: str, tensor: Tensor, letters: str) -> None:
    """Check that a tensor has this number of axes.

    Args:
        name: the argument's name, for the message.
        tensor: the argument.
        letters: a letter for each axis, such as "(B, T, H, E)".

    Raises:
        ValueError: it has another number of axes, or is no tensor.
    """
    if not isinstance(tensor, Tensor) or tensor.dim() != letters.count(",") + 1:
        raise ValueError(f"{name}: expected {letters}, got {shape_or_type(tensor)}")


def check_flags(name: str, flags: Tensor | None, x: Tensor) -> None:
    """Check a bool tensor of shape (B, T), such as `resets` or `mask`; None passes.

    Args:
        name: the argument's name, for the message.
        flags: the argument.
        x: the inputs (B, T, ...), whose device the flags must share.

    Raises:
        ValueError: the shape, dtype or device does not fit.
    """
    if flags is None:
        return
    check_shape(name, flags, "(B, T)", x.shape[:2])
    if flags.dtype is not torch.bool:
        raise ValueError(f"{name}: expected dtype torch.bool, got {flags.dtype}")
    check_device(name, flags, x)


def check_device(name: str, tensor: Tensor, x: Tensor) -> None:
    """Check that a tensor is on the device of `x`.

    Args:
        name: the argument's name, for the message.
        tensor: the argument.
        x: the inputs.

    Raises:
        ValueError: it is on another device.
    """
    if tensor.device != x.device:
        raise ValueError(f"{name}: expected device {x.device}, got {tensor.device}")


def computing_dtype(**tensors: Tensor | None) -> torch.dtype:
    """The dtype in which an operation on these tensors computes.

    Args:
        **tensors: the inputs by name, for the message; None passes.

    Returns:
        float64 where all inputs are float64, else float32, also for smaller floating dtypes.

    Raises:
        ValueError: an input is not floating, or float64 is mixed with another dtype.
    """
    for tensor in tensors.values():
        if tensor is not None and tensor.dtype is not torch.float32:
            break
    else:
        return torch.float32
    given = {name: tensor.dtype for name, tensor in tensors.items() if tensor is not None}
    doubles = [name for name, dtype in given.items() if dtype is torch.float64]
    for name, dtype in given.items():
        if not dtype.is_floating_point:
            raise ValueError(f"{name}: expected a floating dtype, got {dtype}")
        if doubles and dtype is not torch.float64:
            raise ValueError(f"{name}: expected torch.float64 as {doubles[0]} has, got {dtype}")
    return torch.float64 if doubles else torch.float32


def shape_or_type(given: object) -> str:
    """The shape of a tensor, or the type of anything else, as text for an error message.

    Args:
        given: a tensor or anything else.

    Returns:
        The text.
    """
    return str(tuple(given.shape)) if isinstance(given, Tensor) else type(given).__name__
