"""A model of streams that needs no training, and streams to learn."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srwm import StreamClassifier
from srwm.nn import StackConfig
from srwm.streams.config import ModelConfig
from srwm.streams.metadata import StreamMetadata
from srwm.streams.model import StreamModel

SLOTS, CLASSES = 32, 16


class MeansState(NamedTuple):
    count: Tensor
    mean: Tensor
    squares: Tensor
    shown: Tensor
    sums: Tensor
    numbers: Tensor


class NearestMeans(StreamModel):
    """Answers with the class whose mean of standardized features is nearest. It keeps the interface of a model of streams."""

    def __init__(self, num_features: int = SLOTS, num_classes: int = CLASSES) -> None:
        nn.Module.__init__(self)
        self.config = ModelConfig(num_features=num_features, num_classes=num_classes, stack=StackConfig(d_model=8))
        self.metadata = StreamMetadata()
        self.scale = nn.Parameter(torch.tensor(4.0))

    def initial_state(self, batch_size: int) -> MeansState:
        features, classes = self.config.num_features, self.config.num_classes
        count, mean, squares = torch.zeros(3, batch_size, features)
        sums, numbers = torch.zeros(2, batch_size, classes, features)
        return MeansState(count, mean, squares, torch.zeros(batch_size, classes, dtype=torch.bool), sums, numbers)

    def forward(self, x: Tensor, present: Tensor, labels: Tensor, state: MeansState | None = None):
        state = self.initial_state(len(x)) if state is None else state
        logits = []
        for t in range(x.shape[1]):
            logits.append(self.query(x[:, t : t + 1], present[:, t : t + 1], state))
            state = self._after(x[:, t], present[:, t], labels[:, t], state)
        return torch.cat([torch.zeros(len(x), 0, self.config.num_classes), *logits], 1), state

    def query(self, x: Tensor, present: Tensor, state: MeansState) -> Tensor:
        z = self._standardized(x, present, state)[:, :, None]
        known = (state.numbers > 0)[:, None] & present[:, :, None]
        means = (state.sums / state.numbers.clamp(min=1))[:, None]
        distance = ((z - means).square() * known).sum(-1) / known.sum(-1).clamp(min=1)
        logits = (-self.scale * distance).masked_fill(~state.shown[:, None], -torch.inf)
        return torch.where(state.shown.any(1)[:, None, None], logits, 0.0)

    def _standardized(self, x: Tensor, present: Tensor, state: MeansState) -> Tensor:
        spread = (state.squares / state.count.clamp(min=1)).sqrt()[:, None] + 1e-6
        return ((x.float() - state.mean[:, None]) / spread).clamp(-4, 4) * present

    def _after(self, x: Tensor, present: Tensor, labels: Tensor, state: MeansState) -> MeansState:
        here = present.float()
        z = self._standardized(x[:, None], present[:, None], state)
        chosen = nn.functional.one_hot(labels, self.config.num_classes)
        count = state.count + here
        deviation = (x.float() - state.mean) * here
        mean = state.mean + deviation / count.clamp(min=1)
        squares = state.squares + deviation * (x.float() - mean) * here
        at = chosen[..., None] * here[:, None]
        return MeansState(count, mean, squares, state.shown | chosen.bool(), state.sums + at * z, state.numbers + at)


@pytest.fixture(scope="session")
def model() -> NearestMeans:
    return NearestMeans()


@pytest.fixture
def classifier(model) -> StreamClassifier:
    return StreamClassifier(model)


def points(count: int, classes: int = 3, columns: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows around one center per class, and the classes' numbers."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.arange(count) % classes)
    centers = 3 * np.random.default_rng(99).normal(size=(classes, columns))
    return centers[y] + generator.normal(size=(count, columns)), y
