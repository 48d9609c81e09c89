"""Pictures of what a memory holds."""

import numpy as np
import pytest
import torch

from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.nn import StackConfig
from srwm.playground.written import picture_of_change

STACK = {"d_model": 16, "num_heads": 2, "num_layers": 2, "ff_factor": 1}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"stack": StackConfig("srwm", **STACK)}, True),
        ({"stack": StackConfig("deltanet", **STACK)}, False),
        ({"stack": StackConfig("lstm", d_model=16, num_layers=1)}, False),
        ({"stack": StackConfig("srwm", carry="unroll", unroll_length=2, **STACK)}, True),
        ({"head": "prototypes", "stem_channels": 16}, False),
    ],
    ids=str,
)
def test_every_kind_of_state_has_a_picture(changes, lines) -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(**{"stem_channels": 8, "n_way": 4, **changes})).eval()
    with torch.no_grad():
        features = torch.randn(1, 2, model.num_features)
        before = model.learn_features(features[:, :1], torch.tensor([[0]]))
        after = model.learn_features(features[:, 1:], torch.tensor([[1]]), before)
    picture = picture_of_change(before, after, model)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert (picture == 40).all(2).any() == lines
    assert not np.array_equal(picture, picture_of_change(None, after, model))
