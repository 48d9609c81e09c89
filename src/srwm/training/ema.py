"""An exponential moving average of a model's weights, for evaluation."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


class EMA(Generic[Model]):
    """Keeps a copy of `model` whose weights and buffers follow it: a <- d a + (1 - d) w, d = min(decay, (1 + s) / (10 + s)).

    The smaller d of the first steps s forgets the initial weights.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model: Model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Model, step: int) -> None:
        """Follow `model` after `step` steps."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        current = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], weight)
            else:
                average.copy_(current[name])
