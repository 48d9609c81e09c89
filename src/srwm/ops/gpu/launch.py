"""What every launch of a Triton kernel shares."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

OPTIONS: dict[str, Any] = {"num_stages": 1, "enable_fp_fusion": True}
"""Compiler options of every kernel: Triton's versions differ in what they assume where the second is unset."""


def run(
    kernel: Callable[..., Any],
    programs: Sequence[int],
    arrays: Sequence[Tensor | None],
    numbers: Sequence[int],
    **constants: Any,
) -> None:
    """Launch a kernel on the current stream of the arrays' device.

    Args:
        kernel: a function under `triton.jit`.
        programs: the grid; there is no launch if a size is 0.
        arrays: contiguous tensors; None, which the constants tell the kernel not to read, becomes any pointer.
        numbers: the arguments after the arrays.
        **constants: what the kernel is compiled for, and `num_warps`.
    """
    if 0 in programs:
        return
    given = next(a for a in arrays if a is not None)
    with torch.cuda.device(given.device) if given.is_cuda else nullcontext():
        kernel[tuple(programs)](*(given if a is None else a for a in arrays), *numbers, **constants, **OPTIONS)  # type: ignore[index]
