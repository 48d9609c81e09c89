import dataclasses
import math

import numpy as np
import pytest
import torch

from srwm.errors import UserError
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model, with_all_heads
from srwm.fewshot.models.sequence import FewShotModel
from srwm.fewshot.training.heads import HeadsConfig, _shape, train_heads
from srwm.nn import StackConfig
from srwm.training.optimizer import OptimizerConfig

SHORT = HeadsConfig(steps=40, episodes=16, max_shots=3, queries=6, validate_every=20, validation_episodes=40)


def test_the_heads_learn_and_the_stem_stays(config, splits):
    torch.manual_seed(0)
    model = build_model(config.model).eval()
    short = dataclasses.replace(SHORT, optimizer=OptimizerConfig(lr=1e-2))
    told = []
    trained = train_heads(model, splits, short, told.append)
    assert [line.partition(":")[0] for line in told] == ["step 0", "step 20", "step 40"]
    losses = [float(line.split("loss ")[1].partition(";")[0]) for line in told]
    assert min(losses) < losses[0]
    before, after = model.state_dict(), trained.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items() if name.startswith("stem."))
    assert not torch.equal(after["class_means.map.weight"], torch.eye(len(after["class_means.map.weight"])))
    assert not torch.equal(before["out_layer.weight"], after["out_layer.weight"])


def test_one_head_alone_leaves_the_others_and_repeats(config, splits):
    torch.manual_seed(0)
    model = build_model(config.model).eval()
    short = dataclasses.replace(SHORT, heads=("prototypes",), classes=20, optimizer=OptimizerConfig(lr=1e-2))
    first, second = (train_heads(model, splits, short).state_dict() for _ in range(2))
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    again = train_heads(train_heads(model, splits, short), splits, short).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items()), "class means begin untrained"
    with pytest.raises(UserError, match="heads: expected one or more"):
        train_heads(model, splits, dataclasses.replace(short, heads=()))


def test_small_numbers_of_examples_are_drawn_more_often():
    stack = StackConfig(d_model=16, num_heads=2, num_layers=1)
    model = with_all_heads(FewShotModel(ModelConfig(image_shape=(4,), stem="none", n_way=5, stack=stack)))
    generator = torch.Generator().manual_seed(0)
    offsets = torch.arange(0, 41, 20)
    shots = [_shape(model, HeadsConfig(max_shots=10), offsets, generator).k_shot for _ in range(2000)]
    counts = np.bincount(shots, minlength=11)
    assert counts[0] == 0
    assert len(counts) == 11
    assert (counts[1:] > 0).all()
    assert abs(counts[1] / 2000 - math.log(2) / math.log(11)) < 0.04
