"""Models, vectors and drawings to learn from."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import StackConfig

STACK = StackConfig(d_model=32, num_heads=2, num_layers=1, ff_factor=2, core_options={"query_init_std": 0.01})
WIDTH, WAYS = 16, 4
LABELS = ["b", "a", "c", "a", "b", "c"]


def points(classes: int, instances: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows around one center per class, in random order, and the classes' numbers."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.arange(classes).repeat(instances))
    return generator.normal(size=(classes, WIDTH))[y] + 0.3 * generator.normal(size=(len(y), WIDTH)), y


@pytest.fixture(scope="session")
def trained() -> FewShotModel:
    """A model of vectors that has learned to learn, for a second or two."""
    torch.manual_seed(0)
    model = FewShotModel(ModelConfig(image_shape=(WIDTH,), stem="none", n_way=WAYS, stack=STACK))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    query_labels = torch.arange(WAYS).expand(48, -1)
    for _ in range(300):
        centers = torch.randn(48, WAYS, WIDTH)
        labels = torch.rand(48, 2 * WAYS).argsort() % WAYS
        shown = centers.gather(1, labels[..., None].expand(-1, -1, WIDTH))
        _, state = model(shown + 0.3 * torch.randn(shown.shape), labels)
        logits = model.query(centers + 0.3 * torch.randn(centers.shape), state)
        optimizer.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), query_labels.flatten()).backward()
        optimizer.step()
    return model


@pytest.fixture(scope="session")
def drawn() -> FewShotModel:
    """A model of drawings that nobody trained."""
    torch.manual_seed(1)
    model = FewShotModel(ModelConfig(n_way=5, stem_channels=4, stack=STACK)).eval()
    model.metadata = ModelMetadata("nothing", "ink")
    return model


def letter(height: int, width: int, seed: int) -> np.ndarray:
    """Three bars, bright on black."""
    generator = np.random.default_rng(seed)
    drawing = np.zeros((height, width), np.uint8)
    for _ in range(3):
        row, column = generator.integers(1, height - 8), generator.integers(1, width - 11)
        drawing[row : row + 3, column : column + 10] = 255
        drawing[row : row + 7, column : column + 3] = 255
    return drawing


@pytest.fixture
def images() -> np.ndarray:
    return np.stack([letter(28, 28, seed) for seed in range(6)])
