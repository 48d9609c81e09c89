"""Configurations of a stack: as they were written earlier, and with options of their core."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from srwm.nn import CORES, Stack, StackConfig, replace_core
from srwm.training.configuration import config_from_dict

ROOT = Path(__file__).parents[2]
RESIDUALS = {"fewshot": "norm", "rl": "input", "plain": "none"}
SMALL = {"d_model": 8, "num_heads": 2, "num_layers": 2, "ff_factor": 2}


def stored_stacks() -> dict[str, dict[str, Any]]:
    """Each stack that a run or a packaged checkpoint was written with, by its JSON."""
    files = [*(ROOT / "docs" / "logs").rglob("config.json"), *(ROOT / "src/srwm/learner/checkpoints").glob("*/config.json")]
    contents = [json.loads(path.read_text()) for path in files]
    stacks = [(content["model"] if "model" in content else content["agent"])["stack"] for content in contents]
    return {json.dumps(stack): stack for stack in stacks}


@pytest.mark.parametrize("stored", stored_stacks().values(), ids=range(len(stored_stacks())))
def test_stored_configurations_give_the_model_that_they_were_written_with(stored: dict[str, Any]) -> None:
    config = config_from_dict(StackConfig, stored)
    with torch.device("meta"):
        stack = Stack(dataclasses.replace(config, d_input=None))
    if "style" not in stored:
        assert dataclasses.asdict(config) == stored
        return
    for block in stack.blocks:
        assert block.residual == RESIDUALS[stored["style"]]
        if stored["core"] in ("srwm", "sr_delta"):
            assert all(getattr(block.core, name) == stored[name] for name in ("input_softmax", "beta_init", "query_init_std"))
        if stored["core"] == "deltanet":
            assert block.core.eps == (1e-5 if stored["style"] == "rl" else 0)
    same = ("core", "d_model", "num_heads", "num_layers", "ff_factor", "dropout", "carry", "unroll_length", "backend")
    assert all(getattr(config, name) == stored[name] for name in same)


def test_earlier_options_at_their_defaults_are_as_if_left_out() -> None:
    earlier = {"core": "srwm", "style": "rl", "input_softmax": False, "beta_init": 0.0, "query_init_std": 0.01}
    assert config_from_dict(StackConfig, earlier) == StackConfig(residual="input", core_options={"query_init_std": 0.01})
    assert config_from_dict(StackConfig, {"beta_init": -1.0}) == StackConfig(core_options={"beta_init": -1.0})


def test_earlier_and_present_names_do_not_mix() -> None:
    for present in ({"residual": "input"}, {"core_options": {}}):
        with pytest.raises(TypeError, match="unknown field input_softmax"):
            config_from_dict(StackConfig, present | {"input_softmax": True})


@pytest.mark.parametrize("core", CORES)
def test_a_configuration_survives_json(core: str) -> None:
    config = StackConfig(core=core, core_options=CORES[core].default_options())
    assert config_from_dict(StackConfig, json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize("core", CORES)
def test_options_reach_the_core(core: str) -> None:
    defaults = CORES[core].default_options()
    others = {"feature_map": "l2", "beta_max": 1.5}
    changed = {
        name: not value if isinstance(value, bool) else others.get(name) or value + 1 for name, value in defaults.items()
    }
    for options in ({}, changed):
        for block in Stack(StackConfig(**SMALL, core=core, core_options=options)).blocks:
            for name, value in (defaults | options).items():
                assert getattr(block.core, name) == value
                assert f"{name}={value!r}" in repr(block.core)


def test_a_whole_number_serves_where_an_option_is_a_float() -> None:
    core = Stack(StackConfig(**SMALL, core_options={"beta_init": -3})).blocks[0].core
    assert isinstance(core.beta_init, float)
    assert core.beta_init == -3


def test_another_core_keeps_the_options_that_both_have() -> None:
    config = StackConfig(core_options={"query_init_std": 0.01})
    assert replace_core(config, "sr_delta") == dataclasses.replace(config, core="sr_delta")
    assert replace_core(config, "deltanet") == dataclasses.replace(config, core="deltanet", core_options={})
