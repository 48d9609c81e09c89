"""Which implementation runs: the one place that knows the backends by name."""

import functools
import warnings

import torch
from torch import Tensor

from srwm.ops.cpu import library
from srwm.ops.operators import devices
from srwm.ops.transforms import transforming

BACKENDS = ("auto", "reference", "native")


def check_backend(backend: str) -> None:
    """Raise a ValueError for an unknown backend."""
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")


def runs_native(backend: str, operator: str, x: Tensor, dtype: torch.dtype) -> bool:
    """Whether the kernel of a recurrence for x's device is to compute this call; the reference does otherwise.

    "auto" takes kernels for float32 on a device that has them, but not under transforms of torch.func and forward-mode
    differentiation, of which they know nothing. A backend that is named runs or raises.

    Raises:
        ValueError: an unknown backend, or "native" for another device or for float64.
        RuntimeError: "native" where there is no library, or under such a transform.
    """
    check_backend(backend)
    fits = dtype is torch.float32 and x.device.type in devices(operator)
    if backend == "native" and not fits:
        raise ValueError(f"backend: 'native' computes float32 on the CPU, got {dtype} on {x.device}")
    chosen = takes_kernels(backend, fits)
    if fits and backend == "auto" and library.LIBRARY is None and not transforming():
        _warn_once()
    return chosen


def takes_kernels(backend: str, fits: bool) -> bool:
    """Whether a call that the kernels can compute (`fits`) goes to them.

    Raises:
        ValueError: an unknown backend.
        RuntimeError: "native" where there is no library, or under a transform of torch.func or forward-mode differentiation.
    """
    check_backend(backend)
    if backend != "native":
        return backend == "auto" and fits and library.LIBRARY is not None and not transforming()
    library.compiled()
    if transforming():
        raise RuntimeError("backend: 'native' takes no part in torch.func and forward-mode derivatives; use 'auto'")
    return True


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        f"{library.MISSING}: operations run on the slow reference. Reinstall srwm where a C++ compiler with OpenMP is found.",
        RuntimeWarning,
        stacklevel=4,
    )
