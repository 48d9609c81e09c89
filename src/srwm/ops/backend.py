"""Which implementation runs: the one place that knows the backends by name."""

import functools
import warnings

import torch
from torch import Tensor

from srwm.ops.native import library
from srwm.ops.native.operators import compiled, transforming

BACKENDS = ("auto", "reference", "native")


def check_backend(backend: str) -> None:
    """Raise a ValueError for an unknown backend."""
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")


def runs_native(backend: str, x: Tensor, dtype: torch.dtype) -> bool:
    """Whether the native kernels are to compute this call; the reference does otherwise.

    "auto" takes the native kernels for float32 on the CPU where they were compiled, but not under transforms of torch.func and
    forward-mode differentiation, of which they know nothing. A backend that is named runs or raises.

    Raises:
        ValueError: an unknown backend, or "native" for another device or for float64.
        RuntimeError: "native" where there is no library, or under such a transform.
    """
    check_backend(backend)
    fits = x.device.type == "cpu" and dtype is torch.float32
    if backend == "native":
        if not fits:
            raise ValueError(f"backend: 'native' computes float32 on the CPU, got {dtype} on {x.device}")
        compiled()
        if transforming():
            raise RuntimeError("backend: 'native' takes no part in torch.func and forward-mode derivatives; use 'auto'")
        return True
    if backend == "reference" or not fits or transforming():
        return False
    if library.LIBRARY is None:
        _warn_once()
        return False
    return True


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        f"{library.MISSING}: operations run on the slow reference. Reinstall srwm where a C++ compiler with OpenMP is found.",
        RuntimeWarning,
        stacklevel=4,
    )
