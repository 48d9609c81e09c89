"""The choice of backend. No other module knows the backends by name."""

import functools
import warnings

import torch
from torch import Tensor

from srwm.ops.cpu import library
from srwm.ops.gpu import availability
from srwm.ops.operators import devices
from srwm.ops.transforms import transforming

BACKENDS = ("auto", "reference", "chunked", "native", "triton")
_BACKENDS_OF_POOLS = ("auto", "reference", "native")
_NO_TRANSFORMS = "backend: '{}' does not support torch.func and forward-mode differentiation; use 'auto'"


def check_backend(backend: str, known: tuple[str, ...] = BACKENDS) -> None:
    """Check the name of a backend.

    Args:
        backend: the name.
        known: the names that exist.

    Raises:
        ValueError: the backend is unknown.
    """
    if backend not in known:
        raise ValueError(f"backend: expected one of {', '.join(known)}, got {backend!r}")


def runs_kernels(backend: str, operator: str, x: Tensor, dtype: torch.dtype, e: int, d: int) -> bool:
    """Whether the kernel of a recurrence for the device of `x` computes a call; otherwise PyTorch's operations do.

    "auto" chooses the kernel for float32 on the CPU, except under transforms of torch.func and under forward-mode
    differentiation, which kernels do not support. The kernels of CUDA devices have not run on a GPU yet: there "auto" stays
    with PyTorch's operations, and a warning names the option. A backend that is named runs or raises.

    Args:
        backend: one of `BACKENDS`.
        operator: the operator's name in `torch.library`, without `srwm::`.
        x: an input; its device is the one that counts.
        dtype: the dtype in which the call computes.
        e: width E of a head's input.
        d: width D of a head's output.

    Returns:
        True for the kernel, False for PyTorch's operations.

    Raises:
        ValueError: an unknown backend, or "native" or "triton" for another device, for float64, or for widths that do not fit.
        RuntimeError: "native" where there is no library, "triton" where Triton is missing, or either under such a transform.
    """
    check_backend(backend)
    if backend in ("chunked", "reference"):
        return False
    device = x.device.type
    if backend == "triton":
        _check_triton(operator, x, dtype, e, d)
        return True
    fits = dtype is torch.float32 and device != "cuda" and device in devices(operator)
    if backend == "native" and not fits:
        raise ValueError(f"backend: 'native' computes float32 on the CPU, got {dtype} on {x.device}")
    if takes_kernels(backend, fits, device):
        return True
    if device == "cuda" and dtype is torch.float32 and availability.AVAILABLE:
        _warn_of_triton_once()
    if fits and not _has_library(device) and not transforming():
        _warn_once()
    return False


def _check_triton(operator: str, x: Tensor, dtype: torch.dtype, e: int, d: int) -> None:
    if dtype is not torch.float32 or x.device.type != "cuda":
        raise ValueError(f"backend: 'triton' computes float32 on CUDA devices, got {dtype} on {x.device}")
    if not availability.fits(operator, int(e), int(d)):
        raise ValueError(f"backend: 'triton' does not take matrices as large as those of E = {e}, D = {d}; use 'auto'")
    if not availability.AVAILABLE:
        raise RuntimeError("backend: 'triton' needs Triton, which PyTorch's CUDA builds bring along")
    if transforming():
        raise RuntimeError(_NO_TRANSFORMS.format("triton"))


def takes_kernels(backend: str, fits: bool, device: str) -> bool:
    """Whether the native kernels compute a call.

    Args:
        backend: "auto", "native" or "reference".
        fits: whether the kernels support this call's device, dtypes and shapes.
        device: type of the call's device.

    Returns:
        True for the kernels, False for PyTorch's operations.

    Raises:
        ValueError: an unknown backend.
        RuntimeError: "native" where there is no library, or under a transform of torch.func or forward-mode differentiation.
    """
    check_backend(backend, _BACKENDS_OF_POOLS)
    if backend != "native":
        return backend == "auto" and fits and _has_library(device) and not transforming()
    if device == "cpu":
        library.compiled()
    if transforming():
        raise RuntimeError(_NO_TRANSFORMS.format("native"))
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


@functools.cache
def _warn_of_triton_once() -> None:
    warnings.warn(
        "on CUDA devices the operations run in plain PyTorch: the Triton kernels were compiled and interpreted, but have not "
        "yet run on a GPU. backend='triton' selects them.",
        RuntimeWarning,
        stacklevel=4,
    )
