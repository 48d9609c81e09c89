"""What the kernels of both recurrences share: memory with a row for each step, and the call."""

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from srwm.ops.cpu.library import compiled, pointer
from srwm.ops.cpu.memory_pool import empty

_PROBLEM = struct.Struct("@7q2P")
"""`srwm_problem` in api.h. Packed bytes cost a fifth of what ctypes structures do, which a call of one step would notice."""


def rows(like: Tensor, shape: Sequence[int], mask: Tensor | None) -> Tensor:
    """Memory for a result with a row for each step: kernels pass over the rows of masked steps, so those start as zeros."""
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
    """Call a kernel, with dense copies of what is not dense.

    Args:
        kernel: a function of api.h.
        sizes: batch, steps, heads, e, d.
        interval: steps between two checkpoints of W.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.
        inputs: arrays in the order of the kernel's structure in api.h, where their types stand.
        outputs: the arrays behind them.
    """
    resets, mask, *inputs = [None if a is None else a.contiguous() for a in (resets, mask, *inputs)]
    problem = _PROBLEM.pack(torch.get_num_threads(), *sizes, interval, pointer(resets), pointer(mask))
    compiled().run(kernel, problem, (*inputs, *outputs))
