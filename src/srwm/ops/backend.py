"""The choice of backend. No other module knows the backends by name."""

import functools
import warnings

import torch
from torch import Tensor

from srwm.ops.cpu import library
from srwm.ops.operators import devices
from srwm.ops.transforms import transforming

BACKENDS = ("auto", "reference", "chunked", "native")


def check_backend(backend: str) -> None:
    """Check the name of a backend.

    Args:
        backend: the name.

    Raises:
        ValueError: the backend is unknown.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")


def runs_native(backend: str, operator: str, x: Tensor, dtype: torch.dtype) -> bool:
    """Whether the native kernel of a recurrence computes a call; otherwise PyTorch's operations do.

    "auto" chooses the kernel for float32 on a device that has one, except under transforms of torch.func and under
    forward-mode differentiation, which kernels do not support. A backend that is named runs or raises.

    Args:
        backend: "auto", "native", "chunked" or "reference".
        operator: the operator's name in `torch.library`, without `srwm::`.
        x: an input; its device is the one that counts.
        dtype: the dtype in which the call computes.

    Returns:
        True for the kernel, False for PyTorch's operations.

    Raises:
        ValueError: an unknown backend, or "native" for another device or for float64.
        RuntimeError: "native" where there is no library, or under such a transform.
    """
    device = x.device.type
    fits = dtype is torch.float32 and device in devices(operator)
    if backend == "native" and not fits:
        raise ValueError(f"backend: 'native' computes float32 on the CPU, got {dtype} on {x.device}")
    if takes_kernels(backend, fits, device):
        return True
    if fits and backend == "auto" and not _has_library(device) and not transforming():
        _warn_once()
    return False


def takes_kernels(backend: str, fits: bool, device: str) -> bool:
    """Whether the native kernels compute a call.

    Args:
        backend: "auto", "native", "chunked" or "reference".
        fits: whether the kernels support this call's device, dtypes and shapes.
        device: type of the call's device.

    Returns:
        True for the kernels, False for PyTorch's operations.

    Raises:
        ValueError: an unknown backend.
        RuntimeError: "native" where there is no library, or under a transform of torch.func or forward-mode differentiation.
    """
    check_backend(backend)
    if backend != "native":
        return backend == "auto" and fits and _has_library(device) and not transforming()
    if device == "cpu":
        library.compiled()
    if transforming():
        raise RuntimeError("backend: 'native' does not support torch.func and forward-mode differentiation; use 'auto'")
    return True


def _has_library(device: str) -> bool:
    """Whether what the kernels of this type of device are compiled into is there: only those of the CPU need the library."""
    return device != "cpu" or library.LIBRARY is not None


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        f"{library.MISSING}: operations run on the slow reference. Reinstall srwm where a C++ compiler with OpenMP is found.",
        RuntimeWarning,
        stacklevel=4,
    )
