"""Two processes that torchrun started are one run."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from srwm.cli import main
from srwm.errors import UserError
from srwm.training.distributed import local_batches
from srwm.training.metrics import read_metrics

STEPS = 40
OPTIONS = {
    "--data": ["glyphs"],
    "--minutes": ["None"],
    "--steps": [str(STEPS)],
    "--threads": ["1"],
    "--accelerator": ["cpu"],
    "--accumulate": ["4"],
    "--precision": ["float32"],
    "--model.stem": ["none"],
    "--model.stack.d-model": ["16"],
    "--model.stack.num-heads": ["2"],
    "--model.stack.num-layers": ["1"],
    "--model.stack.dropout": ["0.1"],
    "--auxiliary.kind": ["none"],
    "--pool.classes": ["10"],
    "--episodes": ["8"],
    "--log-every": ["2"],
    "--validate-every": ["10"],
    "--validation-episodes": ["20"],
    "--test-episodes": ["20"],
}

pytestmark = pytest.mark.usefixtures("subprocess_environment")


def command(folder, *options, processes=1):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "--"]
    given = [word for name, values in OPTIONS.items() for word in (name, *values)]
    train = ["srwm", "fewshot", "train", "cpu-omniglot-1shot", "--run", str(folder), *given, *options]
    return [sys.executable, *(torchrun if processes > 1 else ["-m"]), *train]


def run(folder, *options, processes=1):
    return subprocess.run(command(folder, *options, processes=processes), capture_output=True, text=True, check=False)


def curve(folder):
    rows = read_metrics(folder)
    names = ("step", "learning_rate", "train_loss", "train_accuracy")
    return np.array([[row[name] for name in names] for row in rows])


def weights(folder):
    return safetensors.torch.load_file(folder / "checkpoints" / f"step-{STEPS}.safetensors")


@pytest.fixture(scope="module")
def alone(subprocess_environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "alone"
    assert main(command(folder)[3:]) == 0
    return folder


def test_two_processes_learn_what_one_does(tmp_path, alone):
    done = run(tmp_path / "run", processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1
    np.testing.assert_allclose(curve(tmp_path / "run"), curve(alone), rtol=1e-4)
    ours, theirs = weights(tmp_path / "run"), weights(alone)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the worker in /proc")
def test_a_killed_worker_ends_the_run_and_a_restart_continues(tmp_path, alone):
    folder = tmp_path / "run"
    process = subprocess.Popen(command(folder, processes=2), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob("checkpoints/step-*.state.pt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    output = process.communicate(timeout=100)[1]
    assert process.returncode != 0
    assert "srwm: another process of this run has ended" in output, output
    assert "[rank0]: Traceback" not in output
    assert not (folder / "test.json").exists()
    done = run(folder, "--resume", processes=2)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(curve(folder), curve(alone), rtol=1e-4)
    ours, theirs = weights(folder), weights(alone)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-4


def test_batches_that_cannot_be_shared_are_reported():
    @dataclasses.dataclass
    class Three:
        world_size: int = 3
        global_rank: int = 1

    assert torch.arange(6)[local_batches(Three(), 6)].tolist() == [1, 4]
    with pytest.raises(UserError, match=r"accumulate: expected a multiple of 3, .* got 4"):
        local_batches(Three(), 4)
