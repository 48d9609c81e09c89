"""Training on random streams: it learns, resumes exactly, validates on held-out streams, and refuses what does not fit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from srwm.errors import UserError
from srwm.nn import StackConfig
from srwm.streams.config import ModelConfig, TrainConfig
from srwm.streams.prior import PriorConfig, draw_streams
from srwm.streams.report import load_best, score_run
from srwm.streams.training.loop import check_config, train
from srwm.streams.training.trainer import Trainer, draw_length
from srwm.streams.validation import TEST, validate
from srwm.training.distributed import build_fabric
from srwm.training.metrics import read_metrics

STACK = StackConfig("deltanet", d_model=16, num_heads=2, num_layers=1, core_options={"feature_map": "l2", "tied_init": True})
CONFIG = TrainConfig(
    model=ModelConfig(num_features=4, num_classes=3, stack=STACK),
    prior=PriorConfig(max_features=4, max_classes=3),
    samples=240,
    lengths=(30, 60),
    length_from=(0.0, 0.5),
    steps=8,
    log_every=2,
    validate_every=4,
    validation_streams=6,
    validation_length=30,
)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(CONFIG, tmp_path / "whole")
    step = Trainer.step

    def interrupted(self: Trainer, number: int, lr: float, spent: float) -> dict[str, float]:
        if number > 6:
            raise KeyboardInterrupt
        return step(self, number, lr, spent)

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
    found = score_run(tmp_path / "whole", 6, 30)
    best = load_best(tmp_path / "whole")
    again = validate(best, CONFIG.prior, 6, 30)
    assert again.accuracy == pytest.approx(max(row.get("val_accuracy", 0) for row in read_metrics(tmp_path / "whole")))
    assert found == validate(best, CONFIG.prior, 6, 30, seed=TEST) != again
    assert (tmp_path / "whole" / "test.json").exists()
    assert not load_best(tmp_path / "whole").training


@pytest.mark.slow
def test_it_learns_to_answer_from_examples() -> None:
    torch.manual_seed(0)
    prior = PriorConfig(max_features=2, max_classes=2, drift=0.0, noisy=0.0, missing=0.0, generative=1.0)
    config = replace(
        CONFIG, prior=prior, model=replace(CONFIG.model, num_features=2, num_classes=2, experts=False), samples=1200
    )
    trainer = Trainer(config, build_fabric("cpu"))
    values = [trainer.step(number, 3e-3, 0.0) for number in range(1, 121)]
    first, last = (sum(value["train_loss"] for value in part) / 20 for part in (values[:20], values[-20:]))
    assert last < first - 0.05


def test_lengths_follow_the_curriculum() -> None:
    def lengths(spent: float) -> set[int]:
        return {draw_length(CONFIG, seed, spent) for seed in range(50)}

    assert lengths(0.0) == {30}
    assert lengths(0.6) == {30, 60}


def test_the_length_says_nothing_about_the_streams() -> None:
    widths = {30: [], 60: []}
    for seed in range(200):
        streams = draw_streams(CONFIG.prior, seed, 1, 10)
        widths[draw_length(CONFIG, seed, 0.6)].append(int(streams.present.any(1).sum()))
    assert all(set(found) == {2, 3, 4} for found in widths.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, "budget"),
        ({"length_from": (0.0,)}, "length_from"),
        ({"length_from": (0.1, 0.5)}, "length_from"),
        ({"samples": 0}, "samples"),
        ({"prior": PriorConfig(max_features=5, max_classes=3)}, "prior"),
        ({"seed": 2**31}, "seed: expected a number from 0 below 2\\*\\*31"),
        ({"model": replace(CONFIG.model, stack=replace(STACK, num_heads=3))}, "model: num_heads"),
        ({"model": replace(CONFIG.model, stack=replace(STACK, core="mamba", core_options={}))}, "model: core: expected"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_config(replace(CONFIG, **change))


@pytest.mark.parametrize("accelerator", ["mps", "auto"])
def test_a_device_without_float64_is_refused(accelerator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srwm.streams.training.loop.build_fabric", lambda name: SimpleNamespace(device=torch.device("mps")))
    with pytest.raises(UserError, match="accelerator: expected cpu or cuda, got mps, which has no float64"):
        train(CONFIG, tmp_path / "run", accelerator=accelerator)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from srwm.streams.training import trainer

    draw = trainer.draw_streams
    monkeypatch.setattr(trainer, "draw_streams", lambda *a: (s := draw(*a))._replace(x=s.x.fill_(torch.nan)))
    with pytest.raises(UserError, match="not finite at step 1"):
        train(CONFIG, tmp_path / "run")
