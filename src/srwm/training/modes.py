"""Modes that last for a block: evaluation of a model, and defaults of new tensors."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """While it lasts the model is in evaluation mode; then as before."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def float32_defaults(device: str = "cpu") -> Iterator[None]:
    """While it lasts new tensors are float32 and on `device`, whatever PyTorch's defaults are; then as before."""
    before = torch.get_default_dtype()
    if before is not torch.float32:
        torch.set_default_dtype(torch.float32)
    try:
        with torch.device(device):
            yield
    finally:
        if before is not torch.float32:
            torch.set_default_dtype(before)
