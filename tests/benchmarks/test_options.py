"""What a benchmark cannot do it refuses in a line or in tyro's box, before it measures."""

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def own_modules() -> Iterator[None]:
    """What the programs of this folder import from it, found while these tests run and forgotten afterwards."""
    before = dict(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - set(before):
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program in this process, which has imported PyTorch."""
    program, *options = map(str, words)
    code: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        patch.setattr(sys, "argv", [program, *options])
        try:
            runpy.run_path(str(BENCHMARKS / program), run_name="__main__")
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):  # sys.exit("message") prints it and exits with 1
        return subprocess.CompletedProcess([], 1, out.getvalue(), f"{err.getvalue()}{code}\n")
    return subprocess.CompletedProcess([], int(str(code or 0)), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of docs/logs that these tests begin with, unpacked."""
    folder = tmp_path_factory.mktemp("logs")
    assert call("logs.py", "unpack", "memory", "procgen-cores", "--to", folder).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("stem.py", "--threads", "0"), "--threads: expected 1 or more, got 0"),
        (("ops.py", "--threads", "-1"), "--threads: expected 1 or more, got -1"),
        (("fewshot.py", "--preset", "nope", "--runs", "runs"), "--preset: expected one of"),
        (("rl.py", "--variants", "nope"), "nope"),
        (("rl.py", "--preset", "nope"), "--preset: expected one of"),
        (("rl.py", "--preset", "quick-memory"), "--preset: expected one of cpu-procgen-starpilot,"),
        (("rl.py", "--updates", "4"), "--updates: expected a multiple of 3, got 4"),
        (("sequences.py", "--runs", "runs", "--tasks", "nope"), "--tasks: expected some of parity, aa-star,"),
        (("sequences.py", "--runs", "runs", "--only", "srwm", "nope"), "got nope"),
        (("sequences.py", "--runs", "runs", "--cpu-minutes", "0"), "--cpu_minutes: expected a number above 0, got 0.0"),
        (("streams.py", "--runs", "runs", "--only", "nope"), "--only: expected some of softmax,"),
        (("streams.py", "--runs", "runs", "--streams", "iris", "nope"), "got nope"),
        (("streams.py", "--runs", "runs", "--jobs", "0"), "--jobs: expected 1 or more, got 0"),
        (("streams.py", "--runs", "runs", "--checkpoint", "nope"), "--checkpoint: nope/model.safetensors is no file"),
        (("stream_step.py", "--seconds", "0"), "seconds: expected a number above 0, got 0.0"),
        (("stream_step.py", "--model.steps", "interleaved"), "model: expected steps 'query',"),
        (("rl.py", "--threads", "0"), "--threads: expected 1 or more, got 0"),
        (("rl.py", "--json", "nowhere/rl.json"), "nowhere: there is no such folder"),
        (("stem.py", "--markdown", "nowhere/stem.md"), "nowhere: there is no such folder"),
        (("jax_scan.py", "some"), "argument threads: invalid int value"),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_a_wrong_option_is_explained(words: tuple[str, ...], line: str) -> None:
    done = call(*words)
    assert done.returncode in (1, 2)
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_help_of_the_jax_scan_needs_no_jax() -> None:
    done = call("jax_scan.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_scores_of_fewer_episodes_do_not_go_into_the_table_of_cores(logs: Path, tmp_path: Path) -> None:
    run = tmp_path / "cpu-memory-minigrid-none-0"
    shutil.copytree(logs / "memory" / run.name, run)
    shutil.copy(logs / "memory" / "cpu-memory-minigrid-srwm-0" / "chance.json", run)
    scores = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").write_text(json.dumps({**scores, "episodes": 1}))
    done = call("cores.py", "--preset", "cpu-memory-minigrid", "--runs", tmp_path, "--only", "none", "--seeds", "0")
    assert done.returncode == 1
    assert "evaluation.json: expected 200 episodes, got 1" in done.stderr


def test_cores_of_a_preset_share_what_chance_earns(logs: Path, tmp_path: Path) -> None:
    """Chance is measured once: a run without it is not evaluated again, and the table is the same."""
    for core in ("lstm", "none"):
        run = f"cpu-memory-minigrid-{core}-0"
        shutil.copytree(logs / "memory" / run, tmp_path / run)
        shutil.copy(logs / "memory" / "cpu-memory-minigrid-srwm-0" / "chance.json", tmp_path / run)
    words = ("cores.py", "--preset", "cpu-memory-minigrid", "--runs", tmp_path, "--only", "lstm", "none", "--seeds", "0")
    both = call(*words)
    (tmp_path / "cpu-memory-minigrid-lstm-0" / "chance.json").unlink()
    one = call(*words)
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == both.stdout
    assert "actions at random" in one.stdout
    assert not (tmp_path / "cpu-memory-minigrid-lstm-0" / "chance.json").exists()


def test_training_accuracy_at_the_end_is_of_many_steps(tmp_path: Path) -> None:
    """Not of the one step that the last row may be: 20 x 0.5, 180 x 0.75 and 1 x 0."""
    rows = ["step,cpu_minutes,train_accuracy,val_accuracy", "100,1,0.25,", "120,2,0.5,", "300,3,0.75,", "301,4,0,0.9"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    found = import_module("runs").last_training(tmp_path)
    assert found == {"step": 300.0, "cpu_minutes": 3.0, "train_accuracy": (10 + 135) / 201}


RANGES = {"bigfish": 39, "fruitbot": 33.9, "leaper": 7, "maze": 5, "plunder": 25.5, "starpilot": 61.5}


def test_training_returns_by_hand_and_of_too_short_a_run(logs: Path, tmp_path: Path) -> None:
    """The first and the last of five rows; a short last row and one without an episode of every task do not count."""
    run = tmp_path / "run"
    shutil.copytree(logs / "procgen-cores" / "cpu-procgen-easy6-none-0", run)
    head = ",".join(["step", "return", *(f"return_{game}" for game in RANGES)])
    rows = [f"{10 * n},{n},{','.join(str(n + k) for k in range(6))}" for n in range(1, 6)]
    others = [f"60,,{'9,' * 5}", f"62,7{',7' * 6}"]

    def measured(lines: list[str]) -> Any:
        (run / "metrics.csv").write_text("\n".join([head, *lines]) + "\n")
        return import_module("cores").training_returns(run)

    found = measured(rows + others)
    returns = {name: {game: each["value"] for game, each in part["returns"].items()} for name, part in found.items()}
    assert returns["first"] == {game: 1.0 + k for k, game in enumerate(RANGES)}
    assert returns["last"] == {game: 5.0 + k for k, game in enumerate(RANGES)}
    rise = found["last"]["normalized mean"]["value"] - found["first"]["normalized mean"]["value"]
    assert abs(rise - sum(4 / size for size in RANGES.values()) / 6) < 1e-9
    with pytest.raises(SystemExit, match="too short a run, expected five rows"):
        measured(rows[:4])
