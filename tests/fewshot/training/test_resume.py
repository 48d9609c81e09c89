"""A run that is ended from outside continues as if it had not been interrupted."""

import csv
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from srwm.cli import main
from srwm.training.checkpoint import Checkpoints

STEPS = 40
SMALL = [
    "--data",
    "glyphs",
    "--minutes",
    "None",
    "--threads",
    "1",
    "--accelerator",
    "cpu",
    "--test-episodes",
    "50",
    "--log-every",
    "2",
    "--validate-every",
    "5",
    "--validation-episodes",
    "20",
    "--episodes",
    "8",
    "--pool.classes",
    "10",
    "--pool.images-per-class",
    "4",
    "--model.stem-channels",
    "8",
    "--model.stem-dropout",
    "0.1",
    "--model.stack.d-model",
    "16",
    "--model.stack.num-heads",
    "2",
    "--model.stack.num-layers",
    "1",
]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("subprocess_environment")]


def command(folder, *options):
    train = ["-m", "srwm", "fewshot", "train", "cpu-omniglot-1shot", "--run", str(folder), "--steps", str(STEPS)]
    return [sys.executable, *train, *SMALL, *options]


def run(folder, *options, **how):
    return subprocess.run(command(folder, *options), capture_output=True, text=True, check=False, **how)


def outcome(folder):
    """Everything that two equal runs share: weights and metrics, times left out."""
    with (folder / "metrics.csv").open() as file:
        rows = [{name: value for name, value in row.items() if "minutes" not in name} for row in csv.DictReader(file)]
    weights = (folder / "checkpoints" / f"step-{STEPS}.safetensors").read_bytes()
    return weights, (folder / "best.safetensors").read_bytes(), (folder / "test.json").read_text(), rows


@pytest.fixture(scope="module")
def uninterrupted(subprocess_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main(command(folder)[3:]) == 0
    return folder


def interrupt(folder, number):
    """Start a run and send it a signal after its second checkpoint."""
    process = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("checkpoints/step-1*.state.pt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    process.send_signal(number)
    return process.wait(), process.communicate()[1]


def test_a_killed_run_resumes_to_the_same_bits_even_after_a_full_disk(tmp_path, uninterrupted, capsys):
    folder = tmp_path / "run"
    code, _ = interrupt(folder, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (folder / "test.json").exists()
    kept = Checkpoints(folder / "checkpoints").newest()

    def small_files_alone():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    full = run(folder, "--resume", preexec_fn=small_files_alone)
    assert full.returncode == 1
    assert full.stderr.startswith("srwm: cannot save")
    assert full.stderr.count("\n") == 1
    assert sorted(os.listdir(folder / "checkpoints")) == [f"step-{kept}.safetensors", f"step-{kept}.state.pt"]

    assert main(command(folder, "--resume")[3:]) == 0
    assert outcome(folder) == outcome(uninterrupted)
    assert "test accuracy" in capsys.readouterr().out


def test_a_run_that_is_requested_to_stop_saves_where_it_is(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    code, output = interrupt(folder, signal.SIGTERM)
    assert code == 130
    assert "the same command with --resume continues" in output
    assert main(command(folder, "--resume")[3:]) == 0
    assert outcome(folder) == outcome(uninterrupted)


def test_another_configuration_is_refused(uninterrupted, capsys):
    before = outcome(uninterrupted)
    assert main(command(uninterrupted, "--resume", "--optimizer.lr", "0.5")[3:]) == 1
    error = capsys.readouterr().err
    assert error.endswith("with another configuration: optimizer.lr (was 0.001, now 0.5)\n")
    assert error.count("\n") == 1
    assert outcome(uninterrupted) == before
