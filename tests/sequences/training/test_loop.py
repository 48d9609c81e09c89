"""Training on a sequence task: it learns, resumes exactly, measures the best weights, and refuses what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from srwm.errors import UserError
from srwm.nn import StackConfig
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.config import TaskConfig, TrainConfig
from srwm.sequences.report import load_best, longest_bin, read_test, score_run
from srwm.sequences.scoring import answers_of, score
from srwm.sequences.tasks import build_task
from srwm.sequences.training.loop import check_config, train
from srwm.sequences.training.trainer import Trainer
from srwm.training.distributed import build_fabric
from srwm.training.metrics import read_metrics
from srwm.training.optimizer import OptimizerConfig

STACK = StackConfig("lstm", d_model=16, num_layers=1, ff_factor=0)
CONFIG = TrainConfig(
    TaskConfig("parity", 2, 8), STACK, batch_size=16, steps=8, log_every=2, validate_every=4, validation_sequences=20
)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(CONFIG, tmp_path / "whole")
    step = Trainer.step

    def interrupted(self: Trainer, number: int, lr: float) -> dict[str, float]:
        if number > 6:
            raise KeyboardInterrupt
        return step(self, number, lr)

    monkeypatch.setattr(Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path / "parts")
    monkeypatch.setattr(Trainer, "step", step)
    assert train(CONFIG, tmp_path / "parts", resume=True)
    for name in ("checkpoints/step-8.safetensors", "best.safetensors"):
        one, other = (safetensors.torch.load_file(tmp_path / run / name) for run in ("whole", "parts"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    rows = [row["train_loss"] for row in read_metrics(tmp_path / "whole")]
    assert rows == [row["train_loss"] for row in read_metrics(tmp_path / "parts")]


def test_the_best_weights_are_measured_on_other_sequences(tmp_path: Path) -> None:
    assert train(CONFIG, tmp_path)
    task, model = load_best(tmp_path)
    assert not model.training
    validated = score(task, answers_of(model), "val", task.validation, 20)
    rows = [row for row in read_metrics(tmp_path) if "val_tokens" in row]
    best = max(rows, key=lambda row: row["val_tokens"] + row["val_sequences"])
    assert (validated.tokens, validated.sequences) == pytest.approx((best["val_tokens"], best["val_sequences"]))
    found = score_run(tmp_path, 20)
    test = read_test(tmp_path)
    assert list(test["bins"]) == list(found) == ["Bin0", "Bin1", "Bin2", "x16"]
    assert longest_bin(test)["tokens"] == found["x16"].tokens
    assert len(longest_bin(test)["by_position"]) == 128
    assert test["sequences"] == 20


def test_class_means_stand_beside_a_model_of_the_automaton(tmp_path: Path) -> None:
    task = TaskConfig("automaton", 2, 4, AutomatonConfig(groups=("z2", "z3"), width=4))
    assert train(replace(CONFIG, task=task, steps=2), tmp_path)
    found = score_run(tmp_path, 10)
    assert len(found) == 16
    assert found["class means, z3 32"].tokens == 1.0
    assert found["z3 32"].tokens < 1.0
    assert longest_bin(read_test(tmp_path))["tokens"] == found["z3 32"].tokens


def test_it_learns_parity() -> None:
    config = replace(CONFIG, task=TaskConfig("parity", 2, 6), batch_size=64, optimizer=OptimizerConfig(lr=1e-2))
    torch.manual_seed(0)
    trainer = Trainer(config, build_task(config.task), build_fabric("cpu"))
    values = [trainer.step(number, 1e-2) for number in range(1, 251)]
    assert values[0]["train_accuracy"] < 0.7
    assert values[-1]["train_accuracy"] > 0.99
    task = build_task(config.task)
    assert score(task, answers_of(trainer.model), "test", task.training, 20).sequences == 1.0


def test_processes_draw_different_sequences() -> None:
    task = build_task(CONFIG.task)
    one, other = (task.draw("train", (0, 1, rank), 16, task.training).tokens for rank in (0, 1))
    assert one.shape != other.shape or not torch.equal(one, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, "budget"),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": 2**31}, "seed: expected a number from 0 below 2\\*\\*31"),
        ({"stack": replace(STACK, core="mamba")}, "stack: core: expected"),
        ({"stack": replace(STACK, core="srwm", num_heads=3)}, "stack: num_heads"),
        ({"stack": replace(STACK, core_options={"beta_init": 1.0})}, "stack: core_options: expected no options for LSTM"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_config(replace(CONFIG, **change))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"bins": {}, "by_token": 1}', '{"bins": {"Bin0": 1}, "by_token": 1}'])
def test_a_damaged_test_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(content)
    with pytest.raises(UserError, match=r"test\.json: not the result of srwm sequences evaluate"):
        read_test(tmp_path)


def test_a_run_that_was_not_measured_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not measured yet; run srwm sequences evaluate"):
        read_test(tmp_path)
    assert train(replace(CONFIG, steps=1), tmp_path / "run")
    (tmp_path / "run" / "best.safetensors").unlink()
    with pytest.raises(UserError, match="not validated yet"):
        load_best(tmp_path / "run")
