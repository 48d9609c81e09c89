"""Shared code of the kernels of both recurrences: allocation of results per step, and the call."""

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from srwm.ops.cpu.library import compiled, pointer
from srwm.ops.cpu.memory_pool import empty

_PROBLEM = struct.Struct("@7q2P")
"""`srwm_problem` in api.h. Packing bytes takes a fifth of the time of ctypes structures, which matters in one-step calls."""


def rows(like: Tensor, shape: Sequence[int], mask: Tensor | None) -> Tensor:
    """A tensor for a result with a row for each step.

    Args:
        like: an input of the operator.
        shape: the result's shape.
        mask: (B, T) bool or None. Kernels skip masked steps, so with a mask the result starts as zeros.

    Returns:
        The tensor, uninitialized without a mask.
    """
    memory = empty(like, shape)
    return memory if mask is None else memory.zero_()


def run(
    kernel: str,
    sizes: Sequence[int],
    interval: int,
    resets: Tensor | None,
    mask: Tensor | None,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor | None],
) -> None:
    """Call a kernel. Inputs that are not contiguous are copied.

    Args:
        kernel: a function of api.h.
        sizes: batch, steps, heads, E, D.
        interval: steps between two checkpoints of W.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.
        inputs: arrays in the order of the kernel's structure in api.h, which also defines their types.
        outputs: the arrays that follow them there.
    """
    resets, mask, *inputs = [None if a is None else a.contiguous() for a in (resets, mask, *inputs)]
    problem = _PROBLEM.pack(torch.get_num_threads(), *sizes, interval, pointer(resets), pointer(mask))
    compiled().run(kernel, problem, (*inputs, *outputs))
