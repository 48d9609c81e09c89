"""The benchmark of GPUs runs, on the CPU with its kernels, and writes what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srwm.ops.cpu import library

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(library.LIBRARY is None, reason="the compiled library is not installed")
def test_a_smoke_run(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--smoke", "--json", str(tmp_path / "a.json")]
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True)
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["exactness"]["failures"] == []
    assert found["exactness"]["draws"] == 15
    assert [row["shape"] for row in found["training"]] == [[2, 6, 2, 16]] * 5
    assert not [name for name, part in found.items() if "failed" in part]
