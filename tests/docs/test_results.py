"""What the pages of docs/results say is what the logs of their runs say."""

import json
import re
import subprocess
import sys
from math import hypot
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srwm.cli import main
from srwm.fewshot.evaluation.baselines import NEAREST_FEATURES, NEAREST_PIXELS, PROTOTYPES, PROTOTYPES_NORMALISED
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.training.runs import read_metrics

from .logs import LOGS

ROOT = Path(__file__).parents[2]


def texts(folder: Path) -> dict[str, str]:
    """The pages of a folder by name, without marks of bold type."""
    return {page.name: page.read_text().replace("**", "") for page in sorted(folder.glob("*.md"))}


PAGES = texts(ROOT / "docs")
RESULTS = texts(ROOT / "docs" / "results")
OVERVIEW = RESULTS.pop("README.md")
RUNS = sorted(path.parent for path in LOGS.rglob("config.json"))
NAMES = [str(run.relative_to(LOGS)) for run in RUNS]
QUESTIONS = [run for run in RUNS if (run / "test.json").exists() and not (run / "adaptation.json").exists()]
ROWS = {
    NEAREST_PIXELS: "nearest pixels",
    NEAREST_FEATURES: "nearest features of its stem (cosine)",
    PROTOTYPES_NORMALISED: "class means of features of its stem (Euclidean after LayerNorm)",
    PROTOTYPES: "class means of features of its stem (Euclidean)",
}
RATES = {
    "lr-0.0005": "`--optimizer.lr 0.0005` ",
    "lr-0.0005-neighbors": "`--optimizer.lr 0.0005 --auxiliary.kind",
    "lr-0.001": "`--optimizer.lr 0.001` ",
    "lr-0.002": "`--optimizer.lr 0.002`",
    "lr-0.0005-half-pool": "`--optimizer.lr 0.0005 --pool",
    "lr-0.001-half-pool": "`--optimizer.lr 0.001 --pool",
    "lr-0.002-half-pool": "`--pool.classes 20",
}
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
CORES = {
    "srwm": "`srwm` |",
    "srwm-detached": "`srwm`, no gradient",
    "srwm-softmax": "`srwm` with a softmax",
    "deltanet": "`deltanet`",
    "lstm": "`lstm` |",
    "none": "`none`",
}
COMMAND = re.compile(r"^    srwm (fewshot curves .+) --figure docs/results/(\S+)$", re.MULTILINE)
CURVES = [(page, *found) for page, text in RESULTS.items() for found in COMMAND.findall(text)]
NTH = ("st", "nd", "rd", "th")
FIGURES = {(page, name) for page, text in RESULTS.items() for name in re.findall(r"\]\(([a-z0-9-]+\.png)\)", text)}
STARPILOT, SIX, MEMORY_FOUR = "procgen-starpilot.md", "procgen-six-games.md", "procgen-memory-games.md"
HEADLINES = {
    "omniglot-1shot.md": ("omniglot-1shot", "omniglot-1shot"),
    "omniglot-learners.md": ("omniglot-1shot-learners/srwm-16-heads", "omniglot-1shot-learners/prototypes"),
    "mini-imagenet-1shot.md": ("mini-imagenet-1shot/decay-0.5-100-minutes",) * 2,
    "mini-imagenet-5shot.md": ("mini-imagenet-5shot/decay-0.5-90-minutes",) * 2,
    "mini-imagenet-5shot-learners.md": ("mini-imagenet-5shot-learners/srwm", "mini-imagenet-5shot-learners/prototypes"),
    "bootstrapped-training.md": ("bootstrap/bootstrapped", "bootstrap/plain"),
}
"""Runs with the matrix's number in the overview and the one beside it: of the same run, it is that of class means."""


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def page_of(log: Path) -> str:
    """The page on results that links the archive of a log."""
    archive = f"](../logs/{log.relative_to(LOGS).parts[0]}.tar.xz)"
    (found,) = [text for text in RESULTS.values() if archive in text]
    return found


def overview(page: str) -> list[str]:
    """The row of the overview that links a page: what is measured, the matrix, what it is compared with, its result."""
    (found,) = [line for line in OVERVIEW.splitlines() if line.startswith("| [") and f"]({page})" in line]
    return cells(found)[2:6]


def table_cells(text: str) -> list[str]:
    """Of all tables of a page."""
    return [cell for line in text.splitlines() if line.startswith("|") for cell in cells(line)]


def procgen_page(preset: str) -> str:
    """The section of a preset on the page on ProcGen."""
    return PAGES["rl-procgen.md"].partition(f"## {preset}\n")[2].partition("\n## ")[0]


def cells(line: str) -> list[str]:
    """Of a row of a table."""
    return [cell.strip() for cell in line.split("|")[1:-1]]


def row(text: str, label: str) -> str:
    """The one row of a table that begins with a label."""
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {label}")]
    return found


def first_row(text: str, label: str) -> list[str]:
    """The cells of the first row that begins with a label."""
    return next(cells(line) for line in text.splitlines() if line.startswith(f"| {label}"))


def percent(measured: dict[str, Any]) -> str:
    return str(Accuracy(measured["mean"], measured["interval"], measured["episodes"]))


def returns(runs: list[Path]) -> str:
    """Mean and range over seeds."""
    found = [next(iter(read(run / "evaluation.json")["sets"]["tasks"]["returns"].values()))["value"] for run in runs]
    return f"{fmean(found):.2f} [{min(found):.2f}, {max(found):.2f}]"


def test_a_page_links_every_archive() -> None:
    linked = {name for text in (*PAGES.values(), *RESULTS.values()) for name in re.findall(r"logs/([\w.-]+)\.tar\.xz\)", text)}
    assert linked == {log.name for log in LOGS.iterdir()}
    assert linked == {path.name.removesuffix(".tar.xz") for path in (ROOT / "docs" / "logs").glob("*.tar.xz")}


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_a_run_took_the_processor_time_that_it_was_given(run: Path) -> None:
    """A thread's, to a minute: the rest of the step and the validation under way when it was over."""
    budget, used = read(run / "config.json")["cpu_minutes"], read_metrics(run)[-1]["cpu_minutes"]
    ended = any(run.glob("test.json")) or any(run.glob("evaluation*.json"))
    assert budget is None or (budget - 0.1 if ended else 0) < used <= budget + 1


@pytest.mark.parametrize("run", QUESTIONS, ids=[run.name for run in QUESTIONS])
def test_a_run_is_told_as_measured(run: Path) -> None:
    text, test, steps = page_of(run), read(run / "test.json"), int(read_metrics(run)[-1]["step"])
    told = table_cells(text)
    assert f"{steps:,}" in told or f"The run made {steps:,} steps." in text
    for measured in (test, *(read(path) for path in run.glob("test-*.json"))):
        assert measured["episodes"] >= 10_000
        assert told.count(percent(measured)) == 1
    for measured in (read(path) for path in run.glob("baselines*.json")):
        for name, label in ROWS.items():
            assert measured[name]["episodes"] >= 10_000
            assert percent(measured[name]) in cells(row(text, label))


@pytest.mark.parametrize("page", HEADLINES)
def test_the_overview_tells_accuracies_as_measured(page: str) -> None:
    matrix, other = HEADLINES[page]
    beside = (
        read(LOGS / other / "baselines.json")[PROTOTYPES_NORMALISED] if other == matrix else read(LOGS / other / "test.json")
    )
    assert overview(page)[1::2] == [percent(read(LOGS / matrix / "test.json")), percent(beside)]


def test_the_overview_has_a_row_for_each_page() -> None:
    rows = [line for line in OVERVIEW.splitlines() if line.startswith("| [")]
    assert sorted(re.findall(r"\]\((\S+\.md)\)", "".join(rows))) == sorted(RESULTS)


@pytest.mark.parametrize("page", [*RESULTS, "README.md"])
def test_a_cell_has_one_number(page: str) -> None:
    """With its interval or range; numbers in labels, which have letters, do not count."""
    number = r"[+-]?\d[\d,]*(\.\d+)?( ± \d+\.\d+)?( %)?( \[[^\]]+\])?"
    told = [cell for cell in table_cells(RESULTS.get(page, OVERVIEW)) if re.match(r"[+-]?\d", cell)]
    assert [
        cell for cell in told if not re.fullmatch(number, cell) and not re.search(r"[a-z]{3}", cell) and cell[-2:] not in NTH
    ] == []


def test_the_overview_of_splits_two_tasks_and_glyphs_is_what_their_pages_say() -> None:
    text = RESULTS["mini-imagenet-splits.md"]
    lost = [cells(row(text, f"one example: {label}")) for label in ("matrix", "class means")]
    points = [f"{float(each[1].split()[0]) - float(each[3].split()[0]):.1f}" for each in lost]
    assert overview("mini-imagenet-splits.md")[1::2] == points
    tasks = [cells(row(RESULTS["two-tasks.md"], label))[2] for label in ("`srwm` |", "`deltanet` |")]
    assert overview("two-tasks.md")[1::2] == tasks
    drawn = [
        cells(row(RESULTS["glyphs-to-omniglot.md"], label))[1] for label in ("self-referential", ROWS[PROTOTYPES_NORMALISED])
    ]
    assert overview("glyphs-to-omniglot.md")[1::2] == drawn
    returns = [cells(row(RESULTS["memory-gradients.md"], CORES[core]))[3].split()[0] for core in ("srwm", "srwm-detached")]
    assert overview("memory-gradients.md")[1::2] == returns


@pytest.mark.parametrize(
    ("shots", "log"), [("one example", "1shot/decay-0.5-100-minutes"), ("five examples", "5shot/decay-0.5-90-minutes")]
)
def test_accuracies_on_each_split_are_told_as_measured(shots: str, log: str) -> None:
    text, folder = RESULTS["mini-imagenet-splits.md"], LOGS / f"mini-imagenet-{log}"
    scores = [read(folder / f"{split}.json") for split in ("train", "val", "test")]
    assert [each["data"] for each in scores] == [f"mini-imagenet-{split}" for split in ("train", "val", "test")]
    means = [read(folder / f"{name}.json")[PROTOTYPES_NORMALISED] for name in ("train-baselines", "val-baselines", "baselines")]
    for label, measured in (("matrix", scores), ("class means", means)):
        assert all(each["episodes"] >= 10_000 for each in measured)
        assert cells(row(text, f"{shots}: {label}"))[1:] == list(map(percent, measured))


@pytest.mark.parametrize(("label", "log"), [("twice the decay", "decay-1"), ("five to ten classes", "10-ways")])
def test_accuracies_of_recipes_are_told_as_measured(label: str, log: str) -> None:
    folder = LOGS / "mini-imagenet-1shot-recipes" / log
    scores = [read(folder / f"{split}.json") for split in ("train", "val", "test")]
    assert all(each["episodes"] >= 10_000 and each["n_way"] == 5 for each in scores)
    steps = f"{int(read_metrics(folder)[-1]['step']):,}"
    assert cells(row(RESULTS["mini-imagenet-1shot.md"], label))[1:] == [steps, *map(percent, scores)]


def test_what_the_readme_says_was_measured_is_on_a_page() -> None:
    """Accuracies with intervals."""
    measured = re.findall(r"\d+\.\d+ ± \d+\.\d+ %", (ROOT / "README.md").read_text())
    assert len(measured) > 5
    pages = (*PAGES.values(), *RESULTS.values())
    assert [each for each in measured if not any(each in page for page in pages)] == []


def test_every_learning_curve_has_its_command() -> None:
    assert {(page, figure) for page, _, figure in CURVES} == FIGURES - {("two-tasks.md", "adaptation.png")}


@pytest.mark.parametrize(("command", "figure"), [each[1:] for each in CURVES], ids=[each[2] for each in CURVES])
def test_a_learning_curve_is_drawn_by_its_command(command: str, figure: str, tmp_path: Path) -> None:
    """From the logs, without the runs."""
    places = [word.removeprefix("docs/logs/") for word in command.split()[2:]]
    runs = [str(path) for place in places for path in sorted(LOGS.glob(place))]
    assert main(["fewshot", "curves", *runs, "--figure", str(tmp_path / "drawn.png")]) == 0
    kept = ROOT / "docs" / "results" / figure
    drawn, shown = (np.asarray(Image.open(path).convert("RGB"), float) for path in (tmp_path / "drawn.png", kept))
    assert drawn.shape == shown.shape
    assert (abs(drawn - shown) > 64).mean() < 0.01


@pytest.mark.parametrize("log", RATES)
def test_rates_are_told_as_validated(log: str) -> None:
    folder = LOGS / "mini-imagenet-1shot-rates" / log
    line = row(page_of(folder), RATES[log])
    found = {step["cpu_minutes"]: step["val_accuracy"] for step in read_metrics(folder) if "val_accuracy" in step}
    for cell, (low, high) in zip(cells(line)[1:3], ((4.5, 6), (9.5, 11)), strict=True):
        (value,) = [value for minutes, value in found.items() if low < minutes < high] or [None]
        assert cell == ("" if value is None or not cell else f"{100 * value:.1f} %")


@pytest.mark.parametrize("heads", [16, 8, 4])
def test_heads_are_told_as_validated(heads: int) -> None:
    """The matrix of 16 heads is that of the learners; its first validation after as many steps."""
    folder = LOGS / ("omniglot-1shot-learners/srwm-16-heads" if heads == 16 else f"omniglot-1shot-heads/{heads}")
    (found,) = [step for step in read_metrics(folder) if step["step"] == 500 and "val_accuracy" in step]
    told = cells(row(RESULTS["omniglot-learners.md"], f"matrix, {heads} heads"))[1:]
    accuracy = f"{100 * found['val_accuracy']:.1f} ± {100 * found['val_interval']:.1f} %"
    assert told == [accuracy, f"{found['cpu_minutes']:.1f}"]


@pytest.mark.parametrize("run", sorted(LOGS.glob("sequential*/*")), ids=lambda run: f"{run.parent.name}-{run.name}")
def test_accuracies_of_adaptation_are_told_as_measured(run: Path) -> None:
    line = row(page_of(run), f"`{run.name}`{', 12 minutes' if run.parent.name == 'sequential-12' else ' |'}")
    tasks = [task["total"] for order in read(run / "adaptation.json")["orders"] for task in order["tasks"]]
    assert all(total["episodes"] >= 10_000 for total in tasks)
    told = [f"{100 * total['mean']:.1f} ± {100 * total['interval']:.1f} %" for total in tasks]
    assert cells(line)[1:5] == told


@pytest.mark.parametrize("run", sorted(LOGS.glob("sequential/*")), ids=lambda run: run.name)
def test_accuracies_per_shot_of_second_tasks_are_told_as_measured(run: Path) -> None:
    for order in read(run / "adaptation.json")["orders"]:
        task = order["tasks"][1]
        name = {"omniglot-test": "Omniglot", "mini-imagenet-test": "Mini-ImageNet"}[task["data"]]
        told = cells(row(page_of(run), f"{name} | `{run.name}`"))[2:]
        assert told == [f"{100 * task['shots'][shot - 1]['mean']:.1f} %" for shot in (1, 2, 3, 5, 10, 15)]


@pytest.mark.parametrize("core", CORES)
def test_returns_of_memories_are_told_as_measured(core: str) -> None:
    told = cells(row(page_of(LOGS / "memory"), CORES[core]))[-3:]
    for cell, task in zip(told, TASKS, strict=True):
        assert cell == returns([LOGS / "memory" / f"cpu-memory-{task}-{core}-{seed}" for seed in range(3)])


def test_the_control_of_equal_frames_is_told_as_measured() -> None:
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
def test_frames_in_procgen_are_told_as_counted(run: Path) -> None:
    frames = read_metrics(run)[-1]["frames"]
    told = (f"{frames / 1e6:.2f} million frames", f"{round(frames, -3):,.0f} frames", f"{frames:,.0f} frames")
    assert any(text in PAGES["rl.md"] for text in told)


def level_cells(scores: Path) -> str:
    """A cell for each set of levels, or for the tasks where there are no levels: return and interval of the first task."""
    found = [next(iter(levels["returns"].values())) for levels in read(scores)["sets"].values()]
    return " | ".join(f"{each['value']:.2f} [{each['low']:.2f}, {each['high']:.2f}]" for each in found)


@pytest.mark.parametrize("scores", PROCGEN_SCORES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_returns_in_procgen_are_told_as_measured(scores: Path) -> None:
    assert PAGES["rl.md"].count(f"| {level_cells(scores)} |") == 1


@pytest.mark.parametrize(("core", "scores"), STARPILOT_ROWS)
def test_returns_in_starpilot_are_told_as_measured(core: str, scores: str) -> None:
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
def test_six_games_are_told_as_measured(core: str | None) -> None:
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
def test_memory_games_are_told_as_measured(core: str | None, levels: str) -> None:
    """The mean of the sets of test levels, with the interval of independent ones; without a core, chance."""
    run = LOGS / "procgen-cores" / f"cpu-procgen-memory4-{core or 'srwm'}-0"
    sets = read(run / ("evaluation-sampled.json" if core else "chance.json"))["sets"]
    chosen = [measured["returns"] for name, measured in sets.items() if (name == "train") == (levels == "training")]

    def told(game: str) -> str:
        value = fmean(each[game]["value"] for each in chosen)
        low, high = (
            hypot(*(each[game]["value"] - each[game][end] for each in chosen)) / len(chosen) for end in ("low", "high")
        )
        return f"{value:.2f} [{value - low:.2f}, {value + high:.2f}]"

    line = row(RESULTS[MEMORY_FOUR], f"{f'`{core}`' if core else 'actions at random'}, {levels} levels")
    assert cells(line)[1:] == [told(game) for game in chosen[0]]
