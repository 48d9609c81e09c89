"""Every preset can be trained with every core."""

from dataclasses import replace

import pytest
import torch

from srwm.errors import UserError
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.batch import Bin
from srwm.sequences.config import TaskConfig
from srwm.sequences.model import SequenceModel
from srwm.sequences.presets import CORES, PRESETS, with_core
from srwm.sequences.tasks import TASK_NAMES, build_task
from srwm.sequences.training.loop import check_config


def test_there_is_a_preset_for_each_task() -> None:
    assert set(PRESETS) == set(TASK_NAMES)
    assert all(config.task.name == name and about for name, (about, config) in PRESETS.items())


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_complete(preset: str) -> None:
    config = PRESETS[preset][1]
    assert check_config(config).config == config.task
    assert config.budget.cpu_minutes is not None


@pytest.mark.parametrize("core", CORES)
def test_every_core_reads_sequences(core: str) -> None:
    assert CORES[core]
    config = with_core(PRESETS["parity"][1], core)
    assert config.stack.core == core
    task = build_task(config.task)
    model = SequenceModel(task, replace(config.stack, d_model=8, num_heads=2, num_layers=1))
    logits = model(task.draw("train", (0,), 2, Bin(6, 6)))
    assert logits.isfinite().all()
    logits.sum().backward()


def test_self_referential_cores_keep_their_settings() -> None:
    config = PRESETS["parity"][1]
    assert with_core(config, "sr_delta").stack.core_options == config.stack.core_options != {}
    assert with_core(config, "lstm").stack.core_options == {}
    assert with_core(config, "srwm") is config


def test_bins_follow_from_the_length_of_training() -> None:
    task = build_task(TaskConfig("parity", 2, 50))
    assert task.validation == Bin(51, 75)
    assert task.tests == {"Bin0": Bin(2, 50), "Bin1": Bin(51, 100), "Bin2": Bin(101, 200), "x16": Bin(800, 800)}
    words = build_task(TaskConfig("s3", 64, 64))
    assert words.validation == Bin(96, 96)
    assert list(words.tests) == ["64", "128", "256", "512", "1024"]
    automaton = build_task(PRESETS["automaton"][1].task)
    assert list(automaton.tests.items())[-1] == ("s3 256", Bin(256, 256, "s3"))


@pytest.mark.parametrize("name", [name for name in TASK_NAMES if name != "automaton"])
def test_every_bin_has_strings(name: str) -> None:
    task = build_task(replace(PRESETS[name][1].task, min_length=2, max_length=16))
    for lengths in task.tests.values():
        batch = task.draw("test", (0,), 3, lengths)
        ends = (batch.targets >= 0).sum(1)
        assert ((ends >= lengths.shortest) & (ends <= lengths.longest)).all()
        assert torch.equal(ends.max(), torch.tensor(batch.tokens.shape[1]))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (TaskConfig("party"), "task.name: expected one of parity, aa-star,"),
        (TaskConfig("parity", 20, 10), "task.min_length: expected 10 or less"),
        (TaskConfig("parity", 2, 513), "task.max_length: expected a number from 1 to 512, got 513"),
        (
            TaskConfig("abab-star", 5, 7),
            "task: lengths: expected a range with strings for train, .* of 4, got 5 to 7",
        ),
        (TaskConfig("parity", 2, 10, AutomatonConfig()), "task.automaton: expected options exactly for the task automaton"),
        (TaskConfig("automaton", 2, 10), "task.automaton: expected options exactly for the task automaton"),
        (TaskConfig("automaton", 2, 10, AutomatonConfig(groups=())), "task.automaton.groups: expected one or more"),
        (TaskConfig("automaton", 2, 10, AutomatonConfig(groups=("s3", "s3"))), "task.automaton.groups: expected one or more"),
    ],
)
def test_what_does_not_fit_is_refused(task: TaskConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_config(replace(PRESETS["parity"][1], task=task))
