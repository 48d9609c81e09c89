"""Public functions for pooling. They check arguments and choose between native kernels and PyTorch's operations."""

import torch
from torch import Tensor
from torch.nn import functional

from srwm.ops.backend import takes_kernels
from srwm.ops.dispatch import needs_grad
from srwm.ops.pooling import (  # noqa: F401  register operators and kernels
    max_pool_cpu,
    norm_pool_cpu,
)
from srwm.ops.pooling.images import CHANNELS, fits
from srwm.ops.transforms import traced


def max_pool(images: Tensor, *, backend: str = "auto") -> Tensor:
    """Max-pool by windows of 3x3, stride 2, padded by 1: `torch.nn.functional.max_pool2d(images, 3, 2, 1)`.

    In the kernels -0 is less than 0. The gradient of a window goes to its first maximum, or to a NaN if there is one.

    Args:
        images: (N, C, H, W), fastest with channels last. Kernels support float32 and bfloat16 on the CPU, C a multiple of 16.
        backend: "auto" (kernels where they support the images, but not while a compiler traces), "native" (kernels, or an
            error) or "reference" (PyTorch).

    Returns:
        (N, C, (H + 1) // 2, (W + 1) // 2) of the same type; channels last from the kernels.

    Raises:
        ValueError: backend "native" where the kernels do not support the images.
        RuntimeError: backend "native" where the library was not compiled, or under torch.func.
    """
    fit = _seen(backend, images) and fits("max_pool_training", images)
    if backend == "native" and not fit:
        raise ValueError(
            f"images: expected float32 or bfloat16 (N, C, H, W), C a multiple of {CHANNELS}, on the CPU, "
            f"got {images.dtype} {tuple(images.shape)} on {images.device}"
        )
    if not takes_kernels(backend, fit, images.device.type):
        return functional.max_pool2d(images, 3, 2, 1)
    if needs_grad((images,)):
        y: Tensor = torch.ops.srwm.max_pool_training(images)[0]
    else:
        y = torch.ops.srwm.max_pool_inference(images)
    return y


def norm_pool(
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    dropout: float = 0.0,
    backend: str = "auto",
) -> Tensor:
    """ReLU(dropout(max_pool(batch_norm(images)))) in training: the batch's own statistics, 2x2 pools.

    Args:
        images: (N, C, H, W), fastest with channels last. Kernels support float32 and bfloat16 on the CPU, C a multiple of 16,
            H and W 2 or more.
        weight: (C,), float32 for the kernels.
        bias: (C,), likewise.
        running_mean: (C,), updated in place with the mean of the images; None: no running mean.
        running_var: (C,), updated in place with their unbiased variance; None: no running variance.
        momentum: weight of the batch in both updates, as in `torch.nn.BatchNorm2d`.
        eps: added to the variance.
        dropout: the probability that an output is zeroed; the kernels support 0 <= dropout < 1.
        backend: as in `max_pool`.

    Returns:
        (N, C, H // 2, W // 2) of the images' type; channels last from the kernels.

    Raises:
        ValueError: backend "native" where the kernels do not support the images, weight, bias or dropout.
        RuntimeError: backend "native" where the library was not compiled, or under torch.func.
    """
    fit = _seen(backend, images) and _norm_pool_fits(images, weight, bias, dropout)
    if backend == "native" and not fit:
        given = ", ".join(f"{a.dtype} {tuple(a.shape)} on {a.device}" for a in (images, weight, bias))
        raise ValueError(
            f"images, weight, bias: expected float32 or bfloat16 (N, C, H, W) and float32 (C,), C a multiple of {CHANNELS}, "
            f"H and W 2 or more, on the CPU, and 0 <= dropout < 1; got {given} and {dropout}"
        )
    if not takes_kernels(backend, fit, images.device.type):
        y = functional.batch_norm(images, running_mean, running_var, weight, bias, True, momentum, eps)
        return functional.relu(functional.dropout(functional.max_pool2d(y, 2), dropout))
    seed = int(torch.randint(2**62, (), dtype=torch.int64, device="cpu")) if dropout else 0
    pooled, mean, variance, _, _ = torch.ops.srwm.norm_pool_training(images, weight, bias, eps, dropout, seed)
    if running_mean is not None and running_var is not None:
        count = images.numel() // images.shape[1]
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * count / (count - 1), momentum)
    result: Tensor = pooled
    return result


def _seen(backend: str, images: Tensor) -> bool:
    """Whether the kernels are considered: compilers and exporters work better with PyTorch's own operations."""
    return backend == "native" or not traced(images)


def _norm_pool_fits(images: Tensor, weight: Tensor, bias: Tensor, dropout: float) -> bool:
    return (
        fits("norm_pool_training", images)
        and min(images.shape[2:]) >= 2
        and all(a.shape == images.shape[1:2] and a.dtype == torch.float32 and a.device == images.device for a in (weight, bias))
        and 0 <= dropout < 1
    )
