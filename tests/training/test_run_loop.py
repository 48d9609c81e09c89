"""The frame of a training loop: it counts, reports, logs and saves."""

import os
import re
import signal
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from srwm.errors import UserError
from srwm.training.budget import Budget
from srwm.training.checkpoint import Checkpoints
from srwm.training.metrics import read_metrics
from srwm.training.progress import Progress
from srwm.training.run_loop import RunLoop


def loop(folder: Path, budget: Budget, progress: Progress | None = None, unit: str = "steps") -> RunLoop:
    fabric = Fabric(accelerator="cpu", devices=1)
    columns = ("minutes", "cpu_minutes", "loss")
    return RunLoop(fabric, folder, budget, progress or Progress(), unit=unit, columns=columns, rate=("episodes", 4))


def run(folder: Path, budget: Budget, progress: Progress | None = None, log_every: int = 2, stop_at: int = 0) -> RunLoop:
    with loop(folder, budget, progress) as running:
        running.announce(nn.Linear(3, 2), "some data")
        while running.next_step():
            running.progress.add({"loss": float(running.progress.step)})
            if running.progress.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            running.end_step()
            if running.is_due(log_every):
                means = running.progress.pop_means()
                running.log(means, f"loss {means['loss']:.1f}")
            if running.stopping or running.is_due(3):
                running.save(nn.Linear(1, 1), {"progress": running.progress.to_dict()})
    return running


def test_a_run_goes_to_the_end_of_its_budget(tmp_path, capsys) -> None:
    ended = run(tmp_path, Budget(steps=5))
    assert (ended.spent, ended.stopping, ended.progress.step) == (1.0, False, 5)
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path)] == [(2, 1.5), (4, 3.5), (5, 5.0)]
    assert Checkpoints(tmp_path / "checkpoints").newest() == 5
    start, end = capsys.readouterr().out.splitlines()
    threads = torch.get_num_threads()
    assert start == f"training in {tmp_path}: device cpu, {threads} thread, some data, 8 parameters, budget 5 steps"
    assert re.fullmatch(r"step 5, 0\.0 min, \d+ episodes/s: loss 5\.0", end)


def test_a_run_that_is_requested_to_stop_ends_its_step_and_saves(tmp_path, capsys) -> None:
    stopped = run(tmp_path, Budget(steps=50), stop_at=4)
    assert stopped.stopping
    assert stopped.spent < 1
    assert Checkpoints(tmp_path / "checkpoints").newest() == 4
    progress = Progress.from_dict(Checkpoints(tmp_path / "checkpoints").load(nn.Linear(1, 1))["progress"])
    assert run(tmp_path, Budget(steps=6), progress).progress.step == 6
    assert "budget 6 steps, resumed at step 4" in capsys.readouterr().out
    assert [row["step"] for row in read_metrics(tmp_path)] == [2, 4, 6]


def test_a_budget_that_is_spent_leaves_nothing_to_do(tmp_path) -> None:
    ended = run(tmp_path, Budget(steps=5), Progress(step=5))
    assert ended.progress.step == 5
    assert Checkpoints(tmp_path / "checkpoints").newest() is None


def test_without_a_terminal_there_is_a_line_a_minute_even_between_rows(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("srwm.training.run_loop._REPORT_EVERY", 0.0)
    run(tmp_path, Budget(steps=5), log_every=4)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(": ")[1] for line in lines] == [*4 * ["no metrics yet"], "loss 2.5", "loss 2.5", "loss 5.0"]
    assert lines[2].startswith("step 2, ")


def test_a_position_in_frames_is_that_of_the_progress(tmp_path, capsys) -> None:
    with loop(tmp_path, Budget(frames=2000), unit="frames") as running:
        while running.next_step():
            running.progress.frames += 1500
            running.end_step()
        running.report("done")
    assert capsys.readouterr().out.startswith("3,000 frames, ")


def test_names_that_no_terminal_takes_are_escaped(tmp_path, capsys) -> None:
    folder = tmp_path / os.fsdecode(b"run-\xff\x1b[31m")
    folder.mkdir()
    with pytest.warns(UserWarning, match="no files for TensorBoard"):
        run(folder, Budget(steps=1))
    assert r"run-\xff\x1b[31m: device cpu" in capsys.readouterr().out


def test_sums_without_a_column_are_refused(tmp_path) -> None:
    with (
        pytest.raises(UserError, match=r"not the state of such a run \(no column lost\)"),
        loop(tmp_path, Budget(steps=1), Progress(sums={"lost": 1.0}, count=1)),
    ):
        pass
