"""What docs/results.md says is what the logs of its runs say."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from srwm.training.runs import read_metrics

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "docs" / "logs"
PAGES = {page: page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))}
RESULTS = PAGES[ROOT / "docs" / "results.md"]
RUNS = sorted(path.parent for path in LOGS.rglob("config.json"))
NAMES = [str(run.relative_to(LOGS)) for run in RUNS]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def results(kind: str) -> list[Any]:
    return [pytest.param(path, id=str(path.parent.relative_to(LOGS))) for path in sorted(LOGS.rglob(kind))]


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_a_page_points_to_the_log(run: Path) -> None:
    linked = [target.strip("/") for text in PAGES.values() for target in re.findall(r"\]\((logs/[^)]*)\)", text)]
    assert [target for target in linked if run.is_relative_to(LOGS.parent / target)]


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_a_run_took_the_processor_time_that_it_was_given(run: Path) -> None:
    """A thread's, to a minute: the rest of the step and the validation under way when it was over."""
    budget, used = read(run / "config.json")["cpu_minutes"], read_metrics(run)[-1]["cpu_minutes"]
    assert budget is None or used <= budget + 1


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_accuracies_are_told_as_measured(run: Path) -> None:
    """Of a run's tests and of what its features are compared with; streams are told by task, below."""
    files = [*run.glob("test*.json"), *run.glob("baselines*.json")] if not (run / "adaptation.json").exists() else []
    values = [value for file in files for value in [read(file), *read(file).values()]]
    for measured in (value for value in values if isinstance(value, dict) and "mean" in value):
        assert measured["episodes"] >= 10_000
        assert f"{100 * measured['mean']:.2f} ± {100 * measured['interval']:.2f} %" in RESULTS


@pytest.mark.parametrize("path", results("adaptation.json"))
def test_accuracies_of_adaptation_are_told_as_measured(path: Path) -> None:
    row = re.search(rf"^\| `{path.parent.name}`.*$", RESULTS, re.MULTILINE)
    assert row is not None
    for task in (task for order in read(path)["orders"] for task in order["tasks"]):
        total = task["total"]
        assert total["episodes"] >= 10_000
        assert f"{100 * total['mean']:.1f} ± {100 * total['interval']:.1f} %" in row.group()


@pytest.mark.parametrize("preset", ["cpu-memory-repeat-previous", "cpu-memory-repeat-first", "cpu-memory-minigrid"])
def test_the_page_on_memory_is_what_its_logs_give(preset: str) -> None:
    options = ["--preset", preset, "--runs", str(LOGS / "memory"), "--seeds", "0", "1", "2"]
    command = [sys.executable, "benchmarks/cores.py", *options]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.strip() in PAGES[ROOT / "docs" / "rl-memory.md"]
