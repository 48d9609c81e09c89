"""What benchmarks/logs.py keeps of runs, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import pytest

LOGS = Path(__file__).parents[2] / "benchmarks" / "logs.py"


def keep(run: Path, log: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, LOGS, run, log], capture_output=True, text=True, check=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "metrics.csv", "weights.safetensors"):
        (run / name).write_text(name)
    return run


def test_a_log_is_replaced_by_the_next_one(run: Path, tmp_path: Path) -> None:
    assert keep(run, tmp_path / "log").returncode == 0
    (tmp_path / "log" / "test.json").write_text("of the run before")
    assert keep(run, tmp_path / "log").returncode == 0
    assert {path.name for path in (tmp_path / "log").iterdir()} == {"config.json", "metrics.csv"}


@pytest.mark.parametrize("name", ["mine.json", "mine.csv"])
def test_a_folder_of_other_files_is_left_alone(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    done = keep(run, tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("expected the place of a log\n")
    assert (tmp_path / name).read_text() == "mine"
