"""The compiled library: where it lies, which instruction set it runs, and its C functions."""

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from ctypes import c_double, c_int32, c_int64
from pathlib import Path

import torch  # noqa: F401  first, so that its OpenMP runtime serves the library too
from torch import Tensor

_API_VERSION = 5

_PROBLEM = struct.Struct("@2i6q2P")
"""`srwm_problem` in api.h. Packed bytes cost a fifth of what ctypes structures do, which a call of one step would notice."""
_KERNELS = (
    "srwm_forward",
    "srwm_backward",
    "srwm_fast_forward",
    "srwm_fast_backward",
    "srwm_norm_pool_forward",
    "srwm_norm_pool_backward",
    "srwm_max_pool_forward",
    "srwm_max_pool_backward",
)


class Library:
    """The kernels. Arguments are dense and come in the order of the structures in api.h, where their types stand."""

    def __init__(self, path: Path):
        """Load the library; SRWM_ISA names an instruction set to use instead of the best."""
        self._lib = ctypes.CDLL(str(path))
        if (version := self._lib.srwm_api_version()) != _API_VERSION:
            raise ImportError(
                f"{path} was built for version {version} of its interface, not {_API_VERSION}: install srwm again"
            )
        self._lib.srwm_saved_row.restype = c_int64
        self._lib.srwm_saved_row.argtypes = (c_int32, c_int64, c_int64, c_int64)
        self._lib.srwm_heads_side_by_side.restype = c_int32
        self._lib.srwm_isa_names.restype = ctypes.c_char_p
        self._lib.srwm_selected_isa.restype = ctypes.c_char_p
        self._lib.srwm_select_isa.argtypes = (ctypes.c_char_p,)
        self._lib.srwm_fma_peak.restype = c_double
        self._lib.srwm_fma_peak.argtypes = (c_int32,)
        for name in _KERNELS:
            getattr(self._lib, name).argtypes = (ctypes.c_char_p, ctypes.c_char_p)
        self.heads_side_by_side: int = self._lib.srwm_heads_side_by_side()
        """As many as fill a vector of the selected instruction set."""
        if wanted := os.environ.get("SRWM_ISA"):
            self.select_isa(wanted)

    @property
    def isa_names(self) -> list[str]:
        """The instruction sets that this machine runs, best first."""
        names: bytes = self._lib.srwm_isa_names()
        return names.decode().split()

    @property
    def selected_isa(self) -> str:
        """The instruction set in use."""
        name: bytes = self._lib.srwm_selected_isa()
        return name.decode()

    def select_isa(self, name: str) -> None:
        """Use the kernels for the instruction set `name`. A backward pass needs those of its forward pass.

        Raises:
            ValueError: this machine does not run it, or it was not compiled.
        """
        if self._lib.srwm_select_isa(name.encode()):
            raise ValueError(f"SRWM_ISA: expected one of {', '.join(self.isa_names)}, got {name!r}")
        self.heads_side_by_side = self._lib.srwm_heads_side_by_side()

    def saved_row(self, side_by_side: bool, heads: int, e: int, d: int) -> int:
        """Floats that backward keeps of one step of a sequence."""
        size: int = self._lib.srwm_saved_row(side_by_side, heads, e, d)
        return size

    def fma_peak(self, threads: int) -> float:
        """Measured float32 operations per second of `threads` threads, from registers, in the selected instruction set."""
        operations: float = self._lib.srwm_fma_peak(threads)
        return operations

    def call(
        self,
        name: str,
        sizes: Sequence[int],
        flags: Sequence[Tensor | None],
        arrays: Sequence[Tensor | None],
    ) -> None:
        """Run `name` on the tensors' memory.

        Arguments:
            name: a function of api.h that computes.
            sizes: threads, whether heads go side by side, batch, steps, heads, e, d, interval.
            flags: resets and mask.
            arrays: inputs and outputs.

        Raises:
            MemoryError: there was no memory for the working set of a thread.
        """
        self.run(name, _PROBLEM.pack(*sizes, *_pointers(flags)), arrays)

    def run(self, name: str, problem: bytes, arrays: Sequence[Tensor | None]) -> None:
        """Run `name` on a packed problem and the tensors' memory.

        Raises:
            MemoryError: there was no memory for the working set of a thread.
        """
        if getattr(self._lib, name)(problem, struct.pack(f"{len(arrays)}P", *_pointers(arrays))):
            raise MemoryError(f"{name}: no memory for the working set")


def _pointers(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if a is None else a.data_ptr() for a in tensors]


def load(path: Path) -> tuple[Library | None, str]:
    """The compiled library, or None and why there is none: it was not built, or cannot be loaded here."""
    if not path.exists():
        return None, "srwm was installed without its compiled library"
    try:
        return Library(path), ""
    except (OSError, ImportError, AttributeError) as error:
        return None, f"the compiled library of srwm cannot be loaded ({error})"


_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
LIBRARY, MISSING = load(Path(__file__).with_name(f"libsrwm_native{_SUFFIX}"))
"""The compiled library, or None; and why, where there is none."""
