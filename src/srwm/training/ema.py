"""An exponential moving average of a model's weights, for evaluation."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


class EMA(Generic[Model]):
    """An exponential moving average of a model's weights and buffers.

    After step s: a <- d a + (1 - d) w with d = min(decay, (1 + s) / (10 + s)). The smaller d of the first steps removes the
    influence of the initial weights. `model` is a copy that holds the average.

    Args:
        model: the model, which is copied.
        decay: the decay per step.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model: Model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Model, step: int) -> None:
        """Update the average.

        Args:
            model: the model after a step.
            step: the number of that step, from 1.
        """
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        current = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], weight)
            else:
                average.copy_(current[name])
