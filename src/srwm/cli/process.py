"""Settings of the process of the command line, made before PyTorch is imported."""

import ctypes
import io
import os
import platform
import sys
import warnings
from pathlib import Path

from srwm.errors import one_line

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_THRESHOLDS = 2**30, 2**25
"""Bytes; older versions of glibc take no more than the second."""
_RAW_WARNING = warnings.formatwarning


def prepare_process() -> None:
    """Let idle OpenMP threads sleep rather than spin, and let the C allocator keep large buffers for the next step.

    Warnings of this package are printed on one line, without a source location. Text that stdout cannot encode, such as a file
    name that is not UTF-8, is printed with backslash escapes. Settings that the user made in the environment are kept.

    Spinning threads slow each other down where cores are shared. An allocator that returns large buffers to the system at
    every step causes page faults when it allocates them again.
    """
    warnings.formatwarning = _warning
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    if "OMP_WAIT_POLICY" not in os.environ and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.update(OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT="0")
    if platform.libc_ver()[0] == "glibc" and not any(name.startswith("MALLOC_") for name in os.environ):
        _keep_buffers()


def _warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        return f"srwm: {one_line(message)}\n"
    return _RAW_WARNING(message, category, filename, lineno, line)


def _keep_buffers() -> None:
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        if not any(mallopt(option, size) == 1 for size in _THRESHOLDS):
            warnings.warn("the C allocator refused its settings; training may be slower", RuntimeWarning, stacklevel=3)
