import dataclasses

import pytest
import torch

from srwm.errors import UserError
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.training.heads import HeadsConfig, train_heads
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
