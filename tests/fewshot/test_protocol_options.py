"""A protocol is one file: defining it is enough for training, evaluation, the run folder and the program's flags."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from PIL import Image
from torch.nn import functional as F

from srwm.cli import main
from srwm.errors import UserError
from srwm.fewshot.evaluation.evaluate import episode_logits
from srwm.fewshot.protocol_options import OPTIONS, ProtocolOptions
from srwm.fewshot.protocols.base import Losses, accuracy_of
from srwm.fewshot.protocols.delayed import DelayedConfig
from srwm.fewshot.protocols.registry import PROTOCOLS, check_config, read_config, with_second
from srwm.fewshot.protocols.sequential import SequentialConfig
from srwm.fewshot.protocols.synchronous import Synchronous
from srwm.ranges import HalfOpen
from srwm.training.configuration import config_from_dict


@pytest.fixture
def smoothed():
    """What the file of a new protocol would hold."""

    @dataclass(frozen=True)
    class SmoothedConfig(ProtocolOptions):
        smoothing: Annotated[float, HalfOpen(0, 1)] = 0.1

    class Smoothed(Synchronous):
        name = "smoothed"
        about = "labeled examples, then queries with smoothed labels"
        Options = SmoothedConfig
        variable_episodes = False

        def losses(self, features, episodes):
            logits = episode_logits(self.model, features, episodes).float()
            smoothing = self.config.options(SmoothedConfig).smoothing
            loss = F.cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten(), label_smoothing=smoothing)
            return Losses(loss, accuracy_of(logits, episodes.query_labels), {"train_loss": loss})

    yield Smoothed
    del PROTOCOLS["smoothed"], OPTIONS["smoothed"]


@pytest.fixture
def folder(tmp_path):
    """20 classes of 6 images."""
    generator = np.random.default_rng(0)
    for c in range(20):
        (tmp_path / "photos" / f"{c:02d}").mkdir(parents=True)
        for i in range(6):
            Image.fromarray(generator.integers(0, 255, (16, 16), dtype=np.uint8)).save(
                tmp_path / "photos" / f"{c:02d}" / f"{i}.png"
            )
    return tmp_path / "photos"


def test_a_protocol_in_one_file_is_trained_by_the_program(tmp_path, folder, smoothed, capsys):
    run = tmp_path / "run"
    command = ["fewshot", "train", "cpu-omniglot-1shot", "--run", str(run), "--data", f"folder:{folder}"]
    command += ["--model.stem-channels=4", "--model.stack.d-model=16", "--model.stack.num-heads=2", "--model.n-way=3"]
    command += ["--episodes=4", "--queries=3", "--validation-queries=3", "--validation-episodes=4", "--test-episodes=4"]
    command += ["--protocol", "smoothed", "--protocol-options.smoothing", "0.2"]
    assert main([*command, "--steps=2"]) == 0
    assert json.loads((run / "config.json").read_text())["protocol_options"] == {"smoothing": 0.2}
    assert read_config(run).protocol_options == smoothed.Options(0.2)
    assert json.loads((run / "test.json").read_text())["episodes"] == 4
    assert main([*command, "--steps=2", "--resume"]) == 0, "the same configuration"
    assert main(["fewshot", "evaluate", str(run), "--episodes", "5"]) == 0
    capsys.readouterr()
    assert main(["fewshot", "train"]) == 0
    assert "smoothed: labeled examples, then queries with smoothed labels" in capsys.readouterr().out
    assert main([*command[:-1], "1", "--run", str(tmp_path / "other")]) == 1
    assert "protocol_options.smoothing: expected a number from 0 below 1, got 1" in capsys.readouterr().err


def test_traits_of_a_protocol_are_checked(config, splits, smoothed):
    config = dataclasses.replace(config, protocol="smoothed")
    check_config(config, with_second(splits, None))
    with pytest.raises(UserError, match="min_ways, max_shots, validation_ways: only the synchronous protocol has them"):
        check_config(dataclasses.replace(config, min_ways=2), with_second(splits, None))


def test_a_configuration_has_the_default_options_of_its_protocol(config):
    assert dataclasses.replace(config, protocol="delayed").protocol_options == DelayedConfig()
    assert dataclasses.replace(config, protocol="sequential").protocol_options == SequentialConfig()
    assert type(config.protocol_options) is ProtocolOptions


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("synchronous", ProtocolOptions()),
        ("delayed", DelayedConfig(hint=0.5)),
        ("sequential", SequentialConfig(hint=0.5, trim=7)),
    ],
)
@pytest.mark.parametrize("name", ["streams", "delayed"])
def test_options_of_earlier_versions_are_read(config, protocol, expected, name):
    """They had a field for each protocol, whatever the protocol of the run."""
    values = {"protocol": protocol, name: {"hint": 0.5}, "sequential": {"trim": 7}, "bootstrap": {"future": 3}}
    restored = config_from_dict(type(config), values)
    assert restored.protocol_options == expected
    again = json.loads(json.dumps(dataclasses.asdict(restored)))
    assert config_from_dict(type(config), again) == restored


def test_unknown_options_are_refused(config):
    with pytest.raises(TypeError, match="protocol_options: unknown field hint"):
        config_from_dict(type(config), {"protocol": "bootstrap", "protocol_options": {"hint": 0.5}})
    with pytest.raises(TypeError, match="protocol_options: hint: expected float, got 'half'"):
        config_from_dict(type(config), {"protocol": "delayed", "protocol_options": {"hint": "half"}})


@pytest.mark.parametrize(
    "values", [{"protocol_options": 3}, {"protocol": "delayed", "streams": None}, {"protocol": ["delayed"]}]
)
def test_malformed_options_are_refused(config, values):
    with pytest.raises(TypeError):
        config_from_dict(type(config), values)
