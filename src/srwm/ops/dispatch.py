"""Shared steps around every kernel: conversion of dtypes, autocast, and whether gradients are needed."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def converted(tensor: Any, dtype: torch.dtype) -> Any:
    """A tensor in another dtype.

    Args:
        tensor: the tensor, or None.
        dtype: the dtype.

    Returns:
        The converted tensor, or None for None.
    """
    return tensor if tensor is None or tensor.dtype is dtype else tensor.to(dtype)


def needs_grad(inputs: Sequence[Tensor | None]) -> bool:
    """Whether autograd needs a backward pass for a result of `inputs`.

    Args:
        inputs: tensors, or None for those that were not given.

    Returns:
        True if grad mode is on and an input requires a gradient.
    """
    return torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in inputs)


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """A context in which autocast is off for the device of x.

    Args:
        x: a tensor.

    Returns:
        The context.
    """
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
