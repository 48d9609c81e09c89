"""A pool of memory for large results and for tensors saved for backward: reused pages are faster than new ones."""

import ctypes
import math
import mmap
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

_SMALLEST = 2**18
"""Bytes; PyTorch allocates smaller tensors."""
_PAGE = 2**21
"""Bytes of a huge page. Blocks are multiples of it, or of an eighth where they are smaller."""


class Pool:
    """Memory blocks that are reused once no tensor refers to them. Up to `limit` bytes of free blocks are kept.

    No lock is needed: each change of the list is one atomic operation, and a block that another thread took first is skipped.

    Args:
        limit: bytes of free blocks that are kept.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._free: list[mmap.mmap] = []  # most recently freed last

    def empty(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float32, layout: torch.memory_format = torch.contiguous_format
    ) -> Tensor:
        """An uninitialized tensor on the CPU. It is no view of another tensor, so operators may return it and change it in
        place.

        Args:
            shape: the tensor's shape.
            dtype: its dtype.
            layout: its memory format.

        Returns:
            The tensor. Its memory comes from the pool if it is large, else from PyTorch.
        """
        count = math.prod(shape)
        size = dtype.itemsize * count
        if size < _SMALLEST or not hasattr(mmap, "MAP_PRIVATE"):
            return torch.empty(shape, dtype=dtype, device="cpu", memory_format=layout)
        block = self._take(size)
        lease = (ctypes.c_char * len(block)).from_buffer(block)
        weakref.finalize(lease, self._give_back, block).atexit = False
        return torch.frombuffer(lease, dtype=dtype, count=count).resize_(shape, memory_format=layout)

    def _take(self, size: int) -> mmap.mmap:
        """The smallest free block that is large enough and not far too large, or a new one."""
        unit = _PAGE if size >= _PAGE else _PAGE // 8
        fitting = [block for block in reversed(self._free) if size <= len(block) <= size + size // 4 + unit]
        for block in sorted(fitting, key=len):
            try:
                self._free.remove(block)
            except ValueError:
                continue
            return block
        block = mmap.mmap(-1, -(-size // unit) * unit, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _give_back(self, block: mmap.mmap) -> None:
        self._free.append(block)
        while sum(map(len, self._free)) > self._limit:
            del self._free[:1]


POOL = Pool(limit=2**28)
"""The pool of all operators in this process."""


def empty(
    like: Tensor,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """An uninitialized tensor for a result of an operator.

    Args:
        like: an input of the operator.
        shape: the result's shape.
        dtype: its dtype.
        layout: its memory format.

    Returns:
        The tensor, from the pool on the CPU; while a compiler traces, a tensor of the kind of `like`.
    """
    if type(like) is not Tensor or not like.is_cpu:  # while tracing
        return like.new_empty(shape, dtype=dtype).contiguous(memory_format=layout)
    return POOL.empty(shape, dtype, layout)
