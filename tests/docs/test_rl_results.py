"""What the pages on reinforcement learning say is what the logs of their runs say."""

import subprocess
import sys
from math import hypot
from pathlib import Path
from statistics import fmean

import pytest

from srwm.training.metrics import read_metrics

from .logs import LOGS
from .pages import CORES, PAGES, RESULTS, ROOT, cells, first_row, overview, page_of, read, row

pytestmark = pytest.mark.results

PROCGEN_SCORES = sorted(path for path in LOGS.glob("procgen/*/*.json") if path.stem != "config")
STARPILOT_ROWS = {
    ("srwm", "evaluation-sampled"): "`srwm`, actions drawn",
    ("none", "evaluation-sampled"): "`none`, actions drawn",
    ("srwm", "evaluation"): "`srwm`, the most likely",
    ("none", "evaluation"): "`none`, the most likely",
    ("srwm", "chance"): "actions at random",
    ("none", "chance"): "actions at random",
}
SIX_GAMES = ("srwm", "srwm-no-carry", "fake_srwm", "deltanet", "lstm", "none")
MEMORY_GAMES = ("srwm", "sr_delta", "lstm", "none")
TASKS = ("repeat-previous", "repeat-first", "minigrid")
STARPILOT, SIX, MEMORY_FOUR = "procgen-starpilot.md", "procgen-six-games.md", "procgen-memory-games.md"


def procgen_page(preset: str) -> str:
    """The section of a preset on the page on ProcGen."""
    return PAGES["rl-procgen.md"].partition(f"## {preset}\n")[2].partition("\n## ")[0]


def returns(runs: list[Path]) -> str:
    """Mean and range over seeds."""
    found = [next(iter(read(run / "evaluation.json")["sets"]["tasks"]["returns"].values()))["value"] for run in runs]
    return f"{fmean(found):.2f} [{min(found):.2f}, {max(found):.2f}]"


@pytest.mark.parametrize("core", CORES)
def test_returns_of_memories_are_shown_as_measured(core: str) -> None:
    shown = cells(row(page_of(LOGS / "memory"), CORES[core]))[-3:]
    for cell, task in zip(shown, TASKS, strict=True):
        assert cell == returns([LOGS / "memory" / f"cpu-memory-{task}-{core}-{seed}" for seed in range(3)])


def test_the_control_of_equal_frames_is_shown_as_measured() -> None:
    (run,) = (LOGS / "memory-frames").iterdir()
    assert level_cells(run / "evaluation.json") in page_of(run)


def page_section(*options: str) -> str:
    """What `benchmarks/cores.py` prints with these options."""
    command = [sys.executable, "benchmarks/cores.py", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("task", TASKS)
def test_the_page_on_memory_is_what_its_logs_give(task: str) -> None:
    preset, runs = f"cpu-memory-{task}", LOGS / "memory"
    assert all((runs / f"{preset}-{core}-{seed}" / "machine.json").exists() for core in CORES for seed in range(3))
    given = page_section("--preset", preset, "--runs", str(runs), "--seeds", "0", "1", "2")
    assert given in (ROOT / "docs" / "rl-memory.md").read_text()


@pytest.mark.parametrize(
    ("preset", "cores", "budget"),
    [
        ("cpu-procgen-starpilot", ("srwm", "none"), ()),
        ("cpu-procgen-easy6", SIX_GAMES, ("--budget", "frames", "1800000")),
        ("cpu-procgen-memory4", MEMORY_GAMES, ("--budget", "cpu-minutes", "45", "frames", "None")),
    ],
)
def test_the_page_on_procgen_is_what_its_logs_give(preset: str, cores: tuple[str, ...], budget: tuple[str, ...]) -> None:
    runs = LOGS / "procgen-cores"
    assert all((runs / f"{preset}-{core}-0" / "machine.json").exists() for core in cores)
    given = page_section("--preset", preset, "--only", *cores, *budget, "--sampled", "--runs", str(runs))
    assert given in (ROOT / "docs" / "rl-procgen.md").read_text()


@pytest.mark.parametrize("run", sorted(LOGS.glob("procgen/*")), ids=lambda run: run.name)
def test_frames_in_procgen_are_shown_as_counted(run: Path) -> None:
    frames = read_metrics(run)[-1]["frames"]
    shown = (f"{frames / 1e6:.2f} million frames", f"{round(frames, -3):,.0f} frames", f"{frames:,.0f} frames")
    assert any(text in PAGES["rl.md"] for text in shown)


def level_cells(scores: Path) -> str:
    """A cell for each set of levels, or for the tasks where there are no levels: return and interval of the first task."""
    found = [next(iter(levels["returns"].values())) for levels in read(scores)["sets"].values()]
    return " | ".join(f"{each['value']:.2f} [{each['low']:.2f}, {each['high']:.2f}]" for each in found)


@pytest.mark.parametrize("scores", PROCGEN_SCORES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_returns_in_procgen_are_shown_as_measured(scores: Path) -> None:
    assert PAGES["rl.md"].count(f"| {level_cells(scores)} |") == 1


@pytest.mark.parametrize(("core", "scores"), STARPILOT_ROWS)
def test_returns_in_starpilot_are_shown_as_measured(core: str, scores: str) -> None:
    run = LOGS / "procgen-cores" / f"cpu-procgen-starpilot-{core}-0"
    assert row(RESULTS[STARPILOT], STARPILOT_ROWS[core, scores]).endswith(f"| {level_cells(run / f'{scores}.json')} |")


@pytest.mark.parametrize(
    ("page", "preset", "labels"),
    [
        (STARPILOT, "cpu-procgen-starpilot", ("`srwm` |", "`none` |")),
        (SIX, "cpu-procgen-easy6", ("`srwm` |", "`deltanet` |")),
        (MEMORY_FOUR, "cpu-procgen-memory4", ("`srwm` |", "`lstm` |")),
    ],
)
def test_the_overview_of_procgen_is_what_the_page_on_procgen_says(page: str, preset: str, labels: tuple[str, str]) -> None:
    """Means over test levels, to a tenth."""
    found = [first_row(procgen_page(preset), label)[3] for label in labels]
    assert overview(page)[1::2] == [f"{float(cell.split()[0]):.1f}" for cell in found]


@pytest.mark.parametrize("core", [*SIX_GAMES, None])
def test_six_games_are_shown_as_measured(core: str | None) -> None:
    """Scores as on the page on ProcGen, and the returns of two games over all levels; chance has been measured once."""
    label = "actions at random" if core is None else f"`{core}` |"
    run = LOGS / "procgen-cores" / f"cpu-procgen-easy6-{core or 'none'}-0"
    sets = read(run / ("chance.json" if core is None else "evaluation-sampled.json"))["sets"].values()
    minutes = "" if core is None else f"{read_metrics(run)[-1]['cpu_minutes']:.0f}"
    (scores, *_) = [cells(line) for line in procgen_page("cpu-procgen-easy6").splitlines() if line.startswith(f"| {label}")]
    means = [f"{fmean(levels['returns'][game]['value'] for levels in sets):.2f}" for game in ("starpilot", "maze")]
    assert cells(row(RESULTS[SIX], label))[1:] == [minutes, *scores[-2:], *means]


@pytest.mark.parametrize("core", [*MEMORY_GAMES, None])
@pytest.mark.parametrize("levels", ["training", "test"])
def test_memory_games_are_shown_as_measured(core: str | None, levels: str) -> None:
    """The mean of the sets of test levels, with the interval of independent ones; without a core, chance."""
    run = LOGS / "procgen-cores" / f"cpu-procgen-memory4-{core or 'srwm'}-0"
    sets = read(run / ("evaluation-sampled.json" if core else "chance.json"))["sets"]
    chosen = [measured["returns"] for name, measured in sets.items() if (name == "train") == (levels == "training")]

    def shown(game: str) -> str:
        value = fmean(each[game]["value"] for each in chosen)
        low, high = (
            hypot(*(each[game]["value"] - each[game][end] for each in chosen)) / len(chosen) for end in ("low", "high")
        )
        return f"{value:.2f} [{value - low:.2f}, {value + high:.2f}]"

    line = row(RESULTS[MEMORY_FOUR], f"{f'`{core}`' if core else 'actions at random'}, {levels} levels")
    assert cells(line)[1:] == [shown(game) for game in chosen[0]]
