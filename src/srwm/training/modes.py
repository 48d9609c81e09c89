"""The modes of a model: training and evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager

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
