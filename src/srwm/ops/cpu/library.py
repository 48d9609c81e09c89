"""The compiled library: its file, the instruction set in use, and its C functions."""

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from ctypes import c_int64
from pathlib import Path
from typing import Any

import torch  # noqa: F401  first, so that its OpenMP runtime serves the library too
from torch import Tensor

_API_VERSION = 9

SAVED_HEADER = 16
"""`SRWM_SAVED_HEADER` in api.h."""

_OTHER_INSTRUCTION_SET = -2
_KERNELS = (
    "srwm_self_referential_forward",
    "srwm_self_referential_backward",
    "srwm_fast_weights_forward",
    "srwm_fast_weights_backward",
    "srwm_norm_pool_forward",
    "srwm_norm_pool_backward",
    "srwm_max_pool_forward",
    "srwm_max_pool_backward",
)
_BYTES, _ADDRESS = ctypes.c_char_p, ctypes.c_void_p
_STREAMS = {
    "srwm_stream_question": (_BYTES, _ADDRESS, _BYTES, _BYTES, _BYTES, _BYTES),
    "srwm_stream_example": (_BYTES, _ADDRESS, _BYTES, _BYTES, _BYTES, c_int64, _BYTES),
    "srwm_stream_experts": (_BYTES, c_int64, c_int64, *[_ADDRESS] * 11),
}


class Library:
    """The compiled kernels. Arrays are contiguous, in the order of the structures in api.h, which also defines their types."""

    def __init__(self, path: Path):
        """Load the library. The environment variable SRWM_ISA can select an instruction set other than the best.

        Args:
            path: the shared library.

        Raises:
            ImportError: it was built for another version of the interface.
            OSError: it cannot be loaded.
            ValueError: SRWM_ISA names an instruction set that this machine does not run.
        """
        self._lib = ctypes.CDLL(str(path))
        if (version := self._lib.srwm_api_version()) != _API_VERSION:
            raise ImportError(
                f"{path} was built for version {version} of its interface, not {_API_VERSION}: install srwm again"
            )
        self._lib.srwm_saved_floats.restype = c_int64
        self._lib.srwm_saved_floats.argtypes = (c_int64,) * 3
        self._lib.srwm_groups_heads.argtypes = (c_int64,) * 5
        self._lib.srwm_isa_names.restype = ctypes.c_char_p
        self._lib.srwm_selected_isa.restype = ctypes.c_char_p
        self._lib.srwm_select_isa.argtypes = (ctypes.c_char_p,)
        self._kernels = {name: getattr(self._lib, name) for name in _KERNELS}
        for kernel in self._kernels.values():
            kernel.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
        for name, types in _STREAMS.items():
            self._kernels[name] = getattr(self._lib, name)
            self._kernels[name].argtypes = types
        if wanted := os.environ.get("SRWM_ISA"):
            self.select_isa(wanted)

    @property
    def isa_names(self) -> list[str]:
        """Names of the compiled instruction sets that this machine runs, best first."""
        names: bytes = self._lib.srwm_isa_names()
        return names.decode().split()

    @property
    def selected_isa(self) -> str:
        """The instruction set in use."""
        name: bytes = self._lib.srwm_selected_isa()
        return name.decode()

    def select_isa(self, name: str) -> None:
        """Use the kernels of an instruction set. A backward pass needs the instruction set of its forward pass.

        Args:
            name: one of `isa_names`.

        Raises:
            ValueError: this machine does not run it, or it was not compiled.
        """
        if self._lib.srwm_select_isa(name.encode()):
            raise ValueError(f"SRWM_ISA: expected one of {', '.join(self.isa_names)}, got {name!r}")

    def saved_floats(self, heads: int, e: int, d: int) -> int:
        """Upper bound on the floats that a forward pass saves for backward, per step of one sequence.

        Args:
            heads: number of heads H.
            e: width E of a head's input.
            d: width D of a head's output.

        Returns:
            Number of floats.
        """
        size: int = self._lib.srwm_saved_floats(heads, e, d)
        return size

    def groups_heads(self, batch: int, heads: int, e: int, d: int, threads: int) -> bool:
        """Whether a forward pass processes the heads of a sequence in groups that fill a vector register.

        Args:
            batch: number of sequences.
            heads: number of heads H.
            e: width E of a head's input.
            d: width D of a head's output.
            threads: number of threads.

        Returns:
            True if it does.
        """
        return bool(self._lib.srwm_groups_heads(batch, heads, e, d, threads))

    def run(self, name: str, problem: bytes, arrays: Sequence[Tensor | None]) -> None:
        """Run a C function of the library.

        Args:
            name: a function of api.h.
            problem: the packed structure of sizes.
            arrays: the tensors whose memory the function reads and writes; None becomes a null pointer.

        Raises:
            MemoryError: there was no memory for the working set of a thread.
            RuntimeError: a backward pass runs with another instruction set than its forward pass.
        """
        self.call(name, problem, struct.pack(f"{len(arrays)}P", *map(pointer, arrays)))

    def call(self, name: str, *arguments: Any) -> None:
        """Call a C function of the library.

        Args:
            name: a function of api.h.
            arguments: its arguments: bytes and ctypes arrays of characters for what lies in memory, addresses, numbers.

        Raises:
            MemoryError: as `run`.
            RuntimeError: as `run`.
        """
        status = self._kernels[name](*arguments)
        if status == _OTHER_INSTRUCTION_SET:
            raise RuntimeError(f"{name}: the forward ran with another instruction set than {self.selected_isa}")
        if status:
            raise MemoryError(f"{name}: no memory for the working set")


def pointer(tensor: Tensor | None) -> int:
    """Address of a tensor's memory; 0 for None.

    Args:
        tensor: the tensor.

    Returns:
        The address.
    """
    return 0 if tensor is None else tensor.data_ptr()


def load(path: Path) -> tuple[Library | None, str]:
    """Load the compiled library.

    Args:
        path: the shared library.

    Returns:
        The library and an empty text, or None and the reason: it was not built, or cannot be loaded.
    """
    if not path.exists():
        return None, "srwm was installed without its compiled library"
    try:
        return Library(path), ""
    except (OSError, ImportError, AttributeError) as error:
        return None, f"the compiled library of srwm cannot be loaded ({error})"


_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
LIBRARY, MISSING = load(Path(__file__).with_name(f"libsrwm_native{_SUFFIX}"))
"""The compiled library, or None and the reason."""


def compiled() -> Library:
    """The compiled library.

    Returns:
        The library.

    Raises:
        RuntimeError: there is none, or it cannot be loaded.
    """
    if LIBRARY is None:
        raise RuntimeError(f"backend: 'native' needs the compiled library; {MISSING}")
    return LIBRARY
