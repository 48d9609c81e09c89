import numpy as np
import pytest

from srwm.data import ImageClasses
from srwm.fewshot.learner import build_optimizer
from srwm.fewshot.presets import PRESETS
from srwm.fewshot.protocols import PROTOCOLS, check_config

COUNTS = {"paper-omniglot-1shot": 1_342_021, "paper-bootstrap-omniglot-1shot": 1_342_021}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_its_model_and_optimizer(name):
    config = PRESETS[name][1]
    objective = PROTOCOLS[config.protocol](config, num_classes=64)
    optimizer = build_optimizer(objective, config.optimizer)
    count = sum(p.numel() for p in objective.model.parameters())
    held = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert held == sum(p.numel() for p in objective.parameters()) >= count
    assert count == COUNTS.get(name, count)
    assert objective.model.config.stack.core == next((core for core in ("deltanet", "lstm") if core in name), "srwm")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_data_of_the_usual_size(name):
    """20 images a class, as in Omniglot, the fewest of all; 60 classes to train, as in FC100."""
    config = PRESETS[name][1]
    images = np.zeros((60 * 20, *config.model.image_shape), np.uint8)
    data = ImageClasses("some", images, np.arange(0, 1201, 20), tuple(map(str, range(60))))
    check_config(config, dict.fromkeys(("train", "val", "test"), (data,) * PROTOCOLS[config.protocol].num_sets))
