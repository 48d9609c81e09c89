"""Pens, papers and lights that the bundled checkpoint reads: five letters shown once on plain paper, one asked for."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from srwm import load_model
from srwm.data.drawings.ink import read_ink

from .conditions import CONDITIONS, LETTERS, render

INSTANCES = 2


def features(condition: str, seed: int) -> torch.Tensor:
    """(letters, instances, F) after LayerNorm."""
    found = [read_ink(drawing) for letter in render(condition, INSTANCES, seed) for drawing in letter]
    assert all(report.components for _, report in found)
    images = torch.from_numpy(np.stack([image for image, _ in found]))[:, None].float() / 255
    with torch.inference_mode():
        embedded = load_model().embed(images)
    return F.layer_norm(embedded, embedded.shape[1:]).unflatten(0, (LETTERS, INSTANCES))


@pytest.fixture(scope="module")
def shown() -> torch.Tensor:
    return features("same pen", 0)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_letter_is_told_from_four_others(shown, condition) -> None:
    asked = features(condition, 1)
    distances = torch.cdist(asked.flatten(0, 1), shown.transpose(0, 1)).view(INSTANCES, LETTERS, INSTANCES, LETTERS)
    wrong = distances <= distances.diagonal(dim1=1, dim2=3).movedim(-1, 1)[..., None]
    closer = wrong.sum(-1).double() - 1  # letters that are taken for the right one where they are among the five
    none_of_four = torch.stack([(LETTERS - 1 - closer - i) / (LETTERS - 1 - i) for i in range(4)]).prod(0)
    assert none_of_four.mean() >= 0.95
