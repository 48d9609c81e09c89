"""Two processes that torchrun started train one agent, each in environments of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srwm.training.runs import read_metrics

PROGRAM = """
import os, sys
from dataclasses import replace
from pathlib import Path
import torch
from conftest import Recall, small_config
from srwm.rl import update
from srwm.rl.train import train

torch.set_num_threads(1)
rank = int(os.environ["RANK"])
kept = []
begin = update.Learner.__init__

def remember(self, agent, *given):
    begin(self, agent, *given)
    kept.append(agent)

update.Learner.__init__ = remember
folder = Path(sys.argv[1])
config = replace(small_config(), frames=int(sys.argv[2]))
train(config, Recall(seed=rank), folder / "run", accelerator="cpu")
torch.save(kept[0].state_dict(), folder / f"rank-{rank}.pt")
"""


def run(folder: Path, frames: int) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    (folder / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run([*torchrun, str(folder), str(frames)], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs gloo")
def test_parameters_stay_identical(tmp_path) -> None:
    run(tmp_path, 700)
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all((first[name] == second[name]).all() for name in first)
    row = read_metrics(tmp_path / "run")[-1]
    assert row["frames"] % (2 * 4 * 7) == 0
    assert row["frames"] >= 700
