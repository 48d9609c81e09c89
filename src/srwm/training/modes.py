"""Context managers: evaluation mode of a model, and defaults for new tensors."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """A context in which the model is in evaluation mode; its modes are restored afterwards.

    Args:
        model: the model.

    Returns:
        The context.
    """
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def float32_defaults(device: str = "cpu") -> Iterator[None]:
    """A context in which new tensors are float32 and on `device`, whatever PyTorch's defaults are.

    Args:
        device: the device.

    Returns:
        The context.
    """
    before = torch.get_default_dtype()
    if before is not torch.float32:
        torch.set_default_dtype(torch.float32)
    try:
        with torch.device(device):
            yield
    finally:
        if before is not torch.float32:
            torch.set_default_dtype(before)
