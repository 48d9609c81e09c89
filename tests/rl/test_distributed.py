"""Two processes that torchrun started train one agent, each in environments of its own, acting beside learning."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srwm.rl.train import WEIGHTS
from srwm.training.metrics import read_metrics

PROGRAM = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from conftest import Recall, small_config
from srwm.rl import update
from srwm.rl.train import train
from srwm.training.distributed import shutdown

torch.set_num_threads(1)
rank = int(os.environ["RANK"])
kept = []
begin = update.Learner.__init__

def remember(self, agent, *given):
    begin(self, agent, *given)
    kept.append(agent)

update.Learner.__init__ = remember
folder, end = Path(sys.argv[1]), sys.argv[2]

class Ended(Recall):  # rank 1 is sent a signal at its 50th step
    steps = 0
    def act(self, actions):
        super().act(actions)
        self.steps += 1
        if rank == 1 and self.steps == 50:
            os.kill(os.getpid(), getattr(signal, end))

env = Recall(seed=rank) if end in ("none", "resume") else Ended(seed=rank)
train(replace(small_config(), frames=700, overlap=True), env, folder / "run", resume=end == "resume", accelerator="cpu")
torch.save(kept.pop().state_dict(), folder / f"rank-{rank}.pt")
shutdown()
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs gloo")]


def run(folder: Path, end: str) -> int:
    """Train by two processes; `end` is none, a signal for rank 1, or resume. Returns torchrun's exit code."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run([*torchrun, str(folder), end], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 or end == "SIGKILL", done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing interrupted."""
    folder: Path = tmp_path_factory.mktemp("whole")
    run(folder, "none")
    return folder


def test_parameters_stay_identical(whole) -> None:
    first, second = (torch.load(whole / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all((first[name] == second[name]).all() for name in first)
    row = read_metrics(whole / "run")[-1]
    assert row["frames"] % (2 * 4 * 7) == 0
    assert row["frames"] >= 700


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_a_run_of_two_processes_continues_as_if_nothing_had_happened(whole, tmp_path, outcome, end) -> None:
    """SIGTERM of one process stops both after an update; SIGKILL of one ends both at once."""
    assert (run(tmp_path, end) != 0) == (end == "SIGKILL")
    assert not (tmp_path / "run" / WEIGHTS).exists()
    run(tmp_path, "resume")
    assert outcome(tmp_path / "run") == outcome(whole / "run")
