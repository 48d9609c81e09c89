"""The number of threads for small inputs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_FEW_IMAGES = 16
"""Up to so many images one thread is at most a few milliseconds slower than many where the machine is idle. Where it is not,
many threads spin while they wait for one another, and a single image costs many times as much."""


@contextmanager
def threads_for(images: int) -> Iterator[None]:
    """A context in which PyTorch computes a few images on one thread, and more on as many as it is set to.

    PyTorch holds the number for each calling thread, so calls in other threads go on as they were. Only a thread whose first
    computation begins within such a context begins with one, too.

    Args:
        images: the number of images.

    Returns:
        The context.
    """
    before = torch.get_num_threads()
    if images > _FEW_IMAGES or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
