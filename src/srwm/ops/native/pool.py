"""Memory for what backward keeps: large, and wanted again at the next call, where asking the system anew costs more than computing."""

import ctypes
import math
import mmap
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

_SMALLEST = 2**17
"""Bytes; less comes from PyTorch, whose memory stays with the process at this size."""
_PAGE = 2**21
"""Bytes of a huge page: blocks are multiples of it, or of an eighth where they are smaller."""


class Pool:
    """Blocks that come back when the tensors on them are gone; up to `limit` bytes of them wait for the next call."""

    def __init__(self, limit: int):
        self._limit = limit
        self._free: list[mmap.mmap] = []  # the one that came back last stands last
        self._lock = threading.RLock()  # a tensor may die, and give its block back, at any moment

    def empty(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """float32 memory of any content."""
        count = math.prod(shape)
        if 4 * count < _SMALLEST or not hasattr(mmap, "MAP_PRIVATE"):
            return like.new_empty(shape)
        block = self._take(4 * count)
        lease = (ctypes.c_char * len(block)).from_buffer(block)
        weakref.finalize(lease, self._give_back, block).atexit = False
        return torch.frombuffer(lease, dtype=torch.float32, count=count).view(*shape)

    def _take(self, size: int) -> mmap.mmap:
        """The smallest free block that is large enough and not twice too large, or a new one."""
        with self._lock:
            fitting = [block for block in self._free if size <= len(block) <= 2 * size]
            if fitting:
                block = min(reversed(fitting), key=len)
                self._free.remove(block)
                return block
        unit = _PAGE if size >= _PAGE else _PAGE // 8
        block = mmap.mmap(-1, -(-size // unit) * unit, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _give_back(self, block: mmap.mmap) -> None:
        with self._lock:
            self._free.append(block)
            while sum(map(len, self._free)) > self._limit:
                self._free.pop(0)


POOL = Pool(limit=2**28)
"""What the operators of this process keep for backward."""
