"""Joining other processes, and leaving them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srwm.training.distributed import shutdown

PROCESS = """
import json
import os
import sys
import time
from pathlib import Path
import torch
from srwm.training.distributed import build_fabric, no_sync, shutdown
fabric = build_fabric("cpu")
torch.manual_seed(0)
learner = fabric.setup(torch.nn.Linear(1, 1, bias=False))
x = torch.tensor([[1.0 + fabric.global_rank]])
seen = []
for apart in (True, True, False):
    with no_sync(fabric, learner, apart):
        fabric.backward(learner(x).sum())
    seen.append(learner.weight.grad.item())
def threads():
    return [comm.read_text().strip() for comm in Path("/proc/self/task").glob("*/comm")]

before = threads()
cycle = [learner]
cycle.append(cycle)
del learner, cycle
shutdown()
time.sleep(1)  # the system forgets a thread a little after it has ended
Path(sys.argv[1], os.environ["RANK"]).write_text(json.dumps([seen, before, threads()]))
"""


def test_leaving_ends_the_group_and_may_be_repeated(tmp_path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    shutdown()
    assert not torch.distributed.is_initialized()
    shutdown()


@pytest.mark.slow
def test_gradients_are_apart_until_the_last_batch(tmp_path) -> None:
    """Two processes whose batches have gradients 1 and 2; what they keep to themselves adds up, then they take the mean.

    When they have left, no thread of gloo is alive: one that is may abort the process at its end.
    """
    (tmp_path / "process.py").write_text(PROCESS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, tmp_path / "process.py", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (one, *threads), (two, *others) = (json.loads((tmp_path / str(rank)).read_text()) for rank in range(2))
    assert one == [1, 2, 4.5]
    assert two == [2, 4, 4.5]
    if Path("/proc/self/task").exists():
        for before, after in (threads, others):
            assert [name for name in before if "gloo" in name]
            assert not [name for name in after if "gloo" in name]
