import dataclasses

import numpy as np
import pytest
import torch

from srwm.data import ImageClasses
from srwm.data.normalize import normalized
from srwm.fewshot.images import to_float
from srwm.fewshot.presets import PRESETS
from srwm.fewshot.protocols.registry import PROTOCOLS, build_protocol, check_config
from srwm.training.optimizer import build_optimizer

COUNTS = {"paper-omniglot-1shot": 1_342_021, "paper-bootstrap-omniglot-1shot": 1_342_021}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_its_model_and_optimizer(name):
    config = PRESETS[name][1]
    protocol = PROTOCOLS[config.protocol](config, num_classes=64)
    optimizer = build_optimizer(protocol, config.optimizer)
    count = sum(p.numel() for p in protocol.model.parameters())
    held = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert held == sum(p.numel() for p in protocol.parameters()) >= count
    assert count == COUNTS.get(name, count)
    assert protocol.model.config.stack.core == next((core for core in ("deltanet", "lstm") if core in name), "srwm")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_data_of_the_usual_size_and_learns_from_it(name):
    """20 images a class, as in Omniglot, the fewest of all; 60 classes to train, as in FC100, but characters have more."""
    config = PRESETS[name][1]
    classes = 120 if config.data == "omniglot+glyphs" else 60
    shape = (classes * 20, *config.model.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    data = ImageClasses("some", images, np.arange(0, 20 * classes + 1, 20), tuple(map(str, range(classes))))
    splits = dict.fromkeys(("train", "val", "test"), data)
    sets = {split: (part,) * PROTOCOLS[config.protocol].num_sets for split, part in splits.items()}
    if config.normalize:
        sets = {split: (part,) * len(sets[split]) for split, part in normalized(splits).items()}
    check_config(config, sets)

    pool = dataclasses.replace(config.pool, classes=min(config.pool.classes, config.model.n_way + 1))
    config = dataclasses.replace(config, episodes=2, pool=pool)
    torch.manual_seed(0)
    protocol = build_protocol(config, sets["train"])
    optimizer = build_optimizer(protocol, config.optimizer)
    before = {parameter: parameter.detach().clone() for parameter in protocol.parameters()}
    step = protocol.sampler(config, sets["train"], torch.Generator().manual_seed(0)).sample()
    loss = protocol(step._replace(images=to_float(step.images))).loss
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    assert all(not torch.equal(parameter, old) for parameter, old in before.items())
