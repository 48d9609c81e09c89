"""What benchmarks/logs.py keeps of runs, and that it comes back."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "logs.py"


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True, check=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("step,loss,return\n100,0.123456789,\n1234567.0,nan,-2\n")
    for name in ("config.json", "adaptation.json", "adaptation.csv", "weights.safetensors"):
        (run / name).write_text(name)
    return run


def test_an_archive_holds_configurations_metrics_and_results(run: Path, tmp_path: Path) -> None:
    archive = tmp_path / "name.tar.xz"
    done = call("pack", run.parent, archive)
    assert (done.returncode, done.stdout) == (0, f"packed the logs of 1 run into {archive}\n")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    log = tmp_path / "name" / "first"
    assert {path.name for path in log.iterdir()} == {"config.json", "metrics.csv", "adaptation.json"}
    assert (log / "config.json").read_text() == "config.json"
    assert (log / "metrics.csv").read_text() == "step,loss,return\n100,0.123457,\n1234567.0,nan,-2\n"


def test_packing_again_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    archive = tmp_path / "name.tar.xz"
    assert call("pack", run, archive).returncode == 0
    first = archive.read_bytes()
    assert call("pack", run, archive).returncode == 0
    assert archive.read_bytes() == first


def test_unpacking_gives_the_folders_by_name(tmp_path: Path) -> None:
    done = call("unpack", "glyphs", "bootstrap", "--to", tmp_path)
    assert done.stdout.split() == [str(tmp_path / "glyphs"), str(tmp_path / "bootstrap")]
    assert (tmp_path / "glyphs" / "config.json").is_file()
    assert len(list((tmp_path / "bootstrap").glob("*/config.json"))) == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("pack", "empty", "name.tar.xz"), "no run found, expected a config.json there or in a folder below"),
        (("unpack", "nope"), "nope.tar.xz: no such archive"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], line: str) -> None:
    done = call(*words)
    assert done.returncode == 1
    assert done.stderr.endswith(f"{line}\n")
    assert "Traceback" not in done.stderr


def test_an_archive_has_its_ending(run: Path, tmp_path: Path) -> None:
    done = call("pack", run, tmp_path / "name")
    assert done.returncode == 1
    assert done.stderr.endswith("expected a name that ends in .tar.xz\n")
