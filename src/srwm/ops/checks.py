"""Checks at the door: every shape and dtype once, with an error that names the argument, what it wanted and what it got."""

import torch
from torch import Tensor


def check_shape(name: str, tensor: Tensor, letters: str, wanted: tuple[int, ...]) -> None:
    """Raise a ValueError unless `tensor` has the shape `wanted`, which `letters` spell out for the message."""
    if not isinstance(tensor, Tensor) or tensor.shape != wanted:
        raise ValueError(f"{name}: expected {letters} = {tuple(wanted)}, got {shape_or_type(tensor)}")


def check_rank(name: str, tensor: Tensor, letters: str) -> None:
    """Raise a ValueError unless `tensor` has as many axes as `letters` names."""
    if not isinstance(tensor, Tensor) or tensor.dim() != letters.count(",") + 1:
        raise ValueError(f"{name}: expected {letters}, got {shape_or_type(tensor)}")


def check_flags(name: str, flags: Tensor | None, x: Tensor) -> None:
    """Raise a ValueError unless `flags` is None or a (B, T) bool tensor where x is."""
    if flags is None:
        return
    check_shape(name, flags, "(B, T)", x.shape[:2])
    if flags.dtype is not torch.bool:
        raise ValueError(f"{name}: expected dtype torch.bool, got {flags.dtype}")
    check_device(name, flags, x)


def check_device(name: str, tensor: Tensor, x: Tensor) -> None:
    """Raise a ValueError unless `tensor` lies where `x` lies."""
    if tensor.device != x.device:
        raise ValueError(f"{name}: expected device {x.device}, got {tensor.device}")


def computing_dtype(**tensors: Tensor | None) -> torch.dtype:
    """float64 when the inputs are, else float32, in which every smaller floating dtype is computed.

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
    """What came, for a message: the shape of a tensor, else the name of its type."""
    return str(tuple(given.shape)) if isinstance(given, Tensor) else type(given).__name__
