"""What docs/results.md says is what the logs of its runs say."""

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
from srwm.fewshot.evaluation.baselines import NEAREST_FEATURES, NEAREST_PIXELS, PROTOTYPES, PROTOTYPES_NORMALIZED
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.training.metrics import read_metrics

from .headings import anchor

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "docs" / "logs"
PAGES = {page.name: page.read_text().replace("**", "") for page in sorted((ROOT / "docs").glob("*.md"))}
RESULTS = PAGES["results.md"]
OVERVIEW, *SECTIONS = re.split(r"^## ", RESULTS, flags=re.MULTILINE)
RUNS = sorted(path.parent for path in LOGS.rglob("config.json"))
NAMES = [str(run.relative_to(LOGS)) for run in RUNS]
QUESTIONS = [run for run in RUNS if (run / "test.json").exists() and not (run / "adaptation.json").exists()]
ROWS = {
    NEAREST_PIXELS: "nearest pixels",
    NEAREST_FEATURES: "nearest features of its stem (cosine)",
    PROTOTYPES_NORMALIZED: "class means of features of its stem (Euclidean after LayerNorm",
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
    ("srwm", "evaluation"): "`srwm`, the likeliest",
    ("none", "evaluation"): "`none`, the likeliest",
    ("srwm", "chance"): "actions at random",
    ("none", "chance"): "actions at random",
}
SIX_GAMES = ("srwm", "srwm-no-carry", "fake_srwm", "deltanet", "lstm", "none")
MEMORY_GAMES = ("srwm", "sr_delta", "lstm", "none")
TASKS = ("repeat-previous", "repeat-first", "minigrid")
CORES = {
    "srwm": "`srwm` |",
    "srwm-detached": "`srwm`, no gradient",
    "srwm-softmax": "`srwm` that reads",
    "deltanet": "`deltanet`",
    "lstm": "`lstm` |",
    "none": "`none`",
}
CURVES = re.findall(r"^    srwm (fewshot curves .+) --figure (docs/\S+)$", RESULTS, re.MULTILINE)
FIGURES = {f"docs/{name}" for name in re.findall(r"\]\(([a-z0-9-]+\.png)\)", RESULTS)}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def section(folder: Path) -> str:
    """The section that points to a log, or to a folder of logs that it lies in."""
    places = [str(place.relative_to(LOGS.parent)) for place in (folder, *folder.parents) if place.is_relative_to(LOGS)]
    (found,) = [text for text in SECTIONS if any(f"]({place}/)" in text for place in places if place != "logs")]
    return found


def titled(title: str) -> str:
    """The section of a title."""
    (found,) = [text for text in SECTIONS if text.startswith(f"{title}\n")]
    return found


def overview(title: str) -> str:
    """The row of the overview that points to a section."""
    (found,) = [line for line in OVERVIEW.splitlines() if f"(#{anchor(title)})" in line]
    return found


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


def percent(measured: dict[str, Any]) -> str:
    return str(Accuracy(measured["mean"], measured["interval"], measured["episodes"]))


def returns(runs: list[Path]) -> str:
    """Mean and range over seeds."""
    found = [next(iter(read(run / "evaluation.json")["sets"]["tasks"]["returns"].values()))["value"] for run in runs]
    return f"{fmean(found):.2f} [{min(found):.2f}, {max(found):.2f}]"


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_a_page_points_to_the_log(run: Path) -> None:
    linked = [target.strip("/") for text in PAGES.values() for target in re.findall(r"\]\((logs/[^)]+)\)", text)]
    assert [target for target in linked if run.is_relative_to(LOGS.parent / target)]


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_a_run_took_the_processor_time_that_it_was_given(run: Path) -> None:
    """A thread's, to a minute: the rest of the step and the validation under way when it was over."""
    budget, used = read(run / "config.json")["cpu_minutes"], read_metrics(run)[-1]["cpu_minutes"]
    ended = any(run.glob("test.json")) or any(run.glob("evaluation*.json"))
    assert budget is None or (budget - 0.1 if ended else 0) < used <= budget + 1


@pytest.mark.parametrize("run", QUESTIONS, ids=[run.name for run in QUESTIONS])
def test_a_run_is_told_as_measured(run: Path) -> None:
    text, test, steps = section(run), read(run / "test.json"), int(read_metrics(run)[-1]["step"])
    assert test["episodes"] >= 10_000
    assert text.count(percent(test)) == 1
    assert f"{steps:,} steps" in text
    line = overview(text.partition("\n")[0])
    assert percent(test) in line
    for other in (read(path) for path in run.glob("test-*.json")):
        assert other["episodes"] >= 10_000
        assert text.count(percent(other)) == line.count(percent(other)) == 1
    for measured in (read(path) for path in run.glob("baselines*.json")):
        for name, label in ROWS.items():
            assert measured[name]["episodes"] >= 10_000
            assert percent(measured[name]) in row(text, label)


@pytest.mark.parametrize(
    ("shots", "log"), [("one example", "1shot/decay-0.5-100-minutes"), ("five examples", "5shot/decay-0.5-90-minutes")]
)
def test_accuracies_on_each_split_are_told_as_measured(shots: str, log: str) -> None:
    text, folder = titled("From training classes to new ones"), LOGS / f"mini-imagenet-{log}"
    scores = [read(folder / f"{split}.json") for split in ("train", "val", "test")]
    assert [each["data"] for each in scores] == [f"mini-imagenet-{split}" for split in ("train", "val", "test")]
    means = [read(folder / f"{name}.json")[PROTOTYPES_NORMALIZED] for name in ("train-baselines", "val-baselines", "baselines")]
    for label, measured in (("matrix", scores), ("class means", means)):
        assert all(each["episodes"] >= 10_000 for each in measured)
        assert cells(row(text, f"{shots}: {label}"))[1:] == list(map(percent, measured))


@pytest.mark.parametrize(("label", "log"), [("twice the decay", "decay-1"), ("five to ten classes", "10-ways")])
def test_accuracies_of_recipes_are_told_as_measured(label: str, log: str) -> None:
    scores = [read(LOGS / "mini-imagenet-1shot-recipes" / log / f"{split}.json") for split in ("train", "val", "test")]
    assert all(each["episodes"] >= 10_000 and each["n_way"] == 5 for each in scores)
    assert cells(row(titled("Mini-ImageNet, 5-way 1-shot"), label))[1:] == list(map(percent, scores))


def test_what_the_readme_says_was_measured_is_on_a_page() -> None:
    """Accuracies with intervals."""
    measured = re.findall(r"\d+\.\d+ ± \d+\.\d+ %", (ROOT / "README.md").read_text().partition("## Measured")[2])
    assert len(measured) > 10
    assert [each for each in measured if not any(each in page for page in PAGES.values())] == []


def test_every_learning_curve_has_its_command() -> None:
    others = {"docs/adaptation.png", *(name for name in FIGURES if name.startswith("docs/rl-"))}
    assert {figure for _, figure in CURVES} == FIGURES - others


@pytest.mark.parametrize(("command", "figure"), CURVES, ids=[figure for _, figure in CURVES])
def test_a_learning_curve_is_drawn_by_its_command(command: str, figure: str, tmp_path: Path) -> None:
    """From the logs, without the runs; the page shows it in the same section."""
    runs = [str(path) for word in command.split()[2:] for path in sorted(ROOT.glob(word))]
    assert main(["fewshot", "curves", *runs, "--figure", str(tmp_path / "drawn.png")]) == 0
    drawn, shown = (np.asarray(Image.open(path).convert("RGB"), float) for path in (tmp_path / "drawn.png", ROOT / figure))
    assert drawn.shape == shown.shape
    assert (abs(drawn - shown) > 64).mean() < 0.01
    (text,) = [section for section in SECTIONS if f"--figure {figure}\n" in section]
    assert f"]({Path(figure).name})" in text


@pytest.mark.parametrize("log", RATES)
def test_rates_are_told_as_validated(log: str) -> None:
    folder = LOGS / "mini-imagenet-1shot-rates" / log
    line = row(section(folder), RATES[log])
    found = {step["cpu_minutes"]: step["val_accuracy"] for step in read_metrics(folder) if "val_accuracy" in step}
    for cell, (low, high) in zip(cells(line)[1:3], ((4.5, 6), (9.5, 11)), strict=True):
        (value,) = [value for minutes, value in found.items() if low < minutes < high] or [None]
        assert cell == ("" if value is None or not cell else f"{100 * value:.1f} %")


@pytest.mark.parametrize("heads", [16, 8, 4])
def test_heads_are_told_as_validated(heads: int) -> None:
    """The matrix of 16 heads is that of the learners; its first validation after as many steps."""
    folder = LOGS / ("omniglot-1shot-learners/srwm-16-heads" if heads == 16 else f"omniglot-1shot-heads/{heads}")
    (found,) = [step for step in read_metrics(folder) if step["step"] == 500 and "val_accuracy" in step]
    told = cells(row(titled("Omniglot with other learners"), f"matrix, {heads} heads"))[1:]
    accuracy = f"{100 * found['val_accuracy']:.1f} ± {100 * found['val_interval']:.1f} %"
    assert told == [accuracy, f"{found['cpu_minutes']:.1f}"]


@pytest.mark.parametrize("run", sorted(LOGS.glob("sequential*/*")), ids=lambda run: f"{run.parent.name}-{run.name}")
def test_accuracies_of_adaptation_are_told_as_measured(run: Path) -> None:
    line = row(section(run), f"`{run.name}`{', 12 minutes' if run.parent.name == 'sequential-12' else ' |'}")
    tasks = [task["total"] for order in read(run / "adaptation.json")["orders"] for task in order["tasks"]]
    assert all(total["episodes"] >= 10_000 for total in tasks)
    told = [f"{100 * total['mean']:.1f} ± {100 * total['interval']:.1f} %" for total in tasks]
    assert cells(line)[1:5] == told


@pytest.mark.parametrize("run", sorted(LOGS.glob("sequential/*")), ids=lambda run: run.name)
def test_accuracies_per_shot_of_second_tasks_are_told_as_measured(run: Path) -> None:
    for order in read(run / "adaptation.json")["orders"]:
        task = order["tasks"][1]
        name = {"omniglot-test": "Omniglot", "mini-imagenet-test": "Mini-ImageNet"}[task["data"]]
        told = cells(row(section(run), f"{name} | `{run.name}`"))[2:]
        assert told == [f"{100 * task['shots'][shot - 1]['mean']:.1f} %" for shot in (1, 2, 3, 5, 10, 15)]


@pytest.mark.parametrize("core", CORES)
def test_returns_of_memories_are_told_as_measured(core: str) -> None:
    told = cells(row(section(LOGS / "memory"), CORES[core]))[-3:]
    for cell, task in zip(told, TASKS, strict=True):
        assert cell == returns([LOGS / "memory" / f"cpu-memory-{task}-{core}-{seed}" for seed in range(3)])


def test_the_control_of_equal_frames_is_told_as_measured() -> None:
    (run,) = (LOGS / "memory-frames").iterdir()
    assert level_cells(run / "evaluation.json") in section(run)


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
    assert row(titled("ProcGen, starpilot"), STARPILOT_ROWS[core, scores]).endswith(
        f"| {level_cells(run / f'{scores}.json')} |"
    )


def test_the_overview_of_starpilot_is_what_the_page_on_procgen_says() -> None:
    page = procgen_page("cpu-procgen-starpilot")
    found = {
        name: re.findall(r"(\d+\.\d+) \[", row(page, label))
        for name, label in (("matrix", "`srwm`"), ("no memory", "`none`"), ("chance", "actions at random"))
    }
    for name, (known, new) in found.items():
        assert f"{name} {float(known):.1f} and {float(new):.1f}" in overview("ProcGen, starpilot")


@pytest.mark.parametrize("core", [*SIX_GAMES, None])
def test_six_games_are_told_as_measured(core: str | None) -> None:
    """Scores as on the page on ProcGen, and the returns of two games over all levels; chance has been measured once."""
    label = "actions at random" if core is None else f"`{core}` |"
    run = LOGS / "procgen-cores" / f"cpu-procgen-easy6-{core or 'none'}-0"
    sets = read(run / ("chance.json" if core is None else "evaluation-sampled.json"))["sets"].values()
    minutes = "" if core is None else f"{read_metrics(run)[-1]['cpu_minutes']:.0f}"
    (scores, *_) = [cells(line) for line in procgen_page("cpu-procgen-easy6").splitlines() if line.startswith(f"| {label}")]
    means = [f"{fmean(levels['returns'][game]['value'] for levels in sets):.2f}" for game in ("starpilot", "maze")]
    assert cells(row(titled("ProcGen, six games at once"), label))[1:] == [minutes, *scores[-2:], *means]


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

    line = row(titled("ProcGen's memory games"), f"{f'`{core}`' if core else 'actions at random'}, {levels} levels")
    assert cells(line)[1:] == [told(game) for game in chosen[0]]


def test_the_overview_of_memory_games_is_what_the_page_on_procgen_says() -> None:
    page = procgen_page("cpu-procgen-memory4")
    labels = {"matrix": "`srwm`", "SRDelta": "`sr_delta`", "LSTM": "`lstm`", "no memory": "`none`", "chance": "actions at"}
    for name, label in labels.items():
        (scores, *_) = [cells(line) for line in page.splitlines() if line.startswith(f"| {label}")]
        assert f"{name} {float(scores[-1].split()[0]):.1f}" in overview("ProcGen's memory games")


def test_the_overview_of_six_games_is_what_its_section_says() -> None:
    for name, label in (("matrix", "`srwm` |"), ("DeltaNet", "`deltanet`"), ("no memory", "`none`"), ("chance", "actions at")):
        score = float(cells(row(titled("ProcGen, six games at once"), label))[3].split()[0])
        assert f"{name} {score:.1f}" in overview("ProcGen, six games at once")
