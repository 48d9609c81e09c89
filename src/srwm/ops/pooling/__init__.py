"""Pooling for image stems: by native kernels where they support the images, else by PyTorch's operations."""

from srwm.ops.pooling.functions import max_pool, norm_pool

__all__ = ["max_pool", "norm_pool"]
