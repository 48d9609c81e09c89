"""What the pages of docs/results say is what the logs of their runs say."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwm.cli import main
from srwm.fewshot.evaluation.baselines import NEAREST_FEATURES, NEAREST_PIXELS, PROTOTYPES, PROTOTYPES_NORMALIZED
from srwm.training.metrics import read_metrics

from .logs import LOGS
from .pages import CORES, OVERVIEW, PAGES, RESULTS, ROOT, cells, overview, page_of, percent, read, row, table_cells

pytestmark = pytest.mark.results

RUNS = sorted(path.parent for path in LOGS.rglob("config.json"))
NAMES = [str(run.relative_to(LOGS)) for run in RUNS]
TESTED = [run for run in RUNS if (run / "test.json").exists() and not (run / "adaptation.json").exists()]
QUESTIONS = [run for run in TESTED if "bins" not in read(run / "test.json")]
SEQUENCES = sorted({run.parent / run.name.rpartition("-")[0] for run in TESTED if run not in QUESTIONS})
"""Cores on sequence tasks, without the seed at the end of their runs' names."""
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
COMMAND = re.compile(r"^    srwm (fewshot curves .+) --figure docs/results/(\S+)$", re.MULTILINE)
CURVES = [(page, *found) for page, text in RESULTS.items() for found in COMMAND.findall(text)]
NTH = ("st", "nd", "rd", "th")
FIGURES = {(page, name) for page, text in RESULTS.items() for name in re.findall(r"\]\(([a-z0-9-]+\.png)\)", text)}
HEADLINES = {
    "omniglot-1shot.md": ("omniglot-1shot", "omniglot-1shot"),
    "omniglot-learners.md": ("omniglot-1shot-learners/srwm-16-heads", "omniglot-1shot-learners/prototypes"),
    "mini-imagenet-1shot.md": ("mini-imagenet-1shot/decay-0.5-100-minutes",) * 2,
    "mini-imagenet-5shot.md": ("mini-imagenet-5shot/decay-0.5-90-minutes",) * 2,
    "mini-imagenet-5shot-learners.md": ("mini-imagenet-5shot-learners/srwm", "mini-imagenet-5shot-learners/prototypes"),
    "bootstrapped-training.md": ("bootstrap/bootstrapped", "bootstrap/plain"),
}
"""Runs with the matrix's number in the overview and the one beside it: of the same run, it is that of class means."""


def test_a_page_links_every_archive() -> None:
    linked = {name for text in (*PAGES.values(), *RESULTS.values()) for name in re.findall(r"logs/([\w.-]+)\.tar\.xz\)", text)}
    assert linked == {log.name for log in LOGS.iterdir()}
    assert linked == {path.name.removesuffix(".tar.xz") for path in (ROOT / "docs" / "logs").glob("*.tar.xz")}


@pytest.mark.parametrize("run", RUNS, ids=NAMES)
def test_a_run_took_the_cpu_time_that_it_was_given(run: Path) -> None:
    """A thread's, to a minute: the rest of the step and the validation under way when it was over."""
    budget, used = read(run / "config.json")["cpu_minutes"], read_metrics(run)[-1]["cpu_minutes"]
    ended = any(run.glob("test.json")) or any(run.glob("evaluation*.json"))
    assert budget is None or (budget - 0.1 if ended else 0) < used <= budget + 1


@pytest.mark.parametrize("run", QUESTIONS, ids=[run.name for run in QUESTIONS])
def test_a_run_is_shown_as_measured(run: Path) -> None:
    text, test, steps = page_of(run), read(run / "test.json"), int(read_metrics(run)[-1]["step"])
    shown = table_cells(text)
    assert f"{steps:,}" in shown or f"The run made {steps:,} steps." in text
    for measured in (test, *(read(path) for path in run.glob("test-*.json"))):
        assert measured["episodes"] >= 10_000
        assert shown.count(percent(measured)) == 1
    for measured in (read(path) for path in run.glob("baselines*.json")):
        for name, label in ROWS.items():
            assert measured[name]["episodes"] >= 10_000
            assert percent(measured[name]) in cells(row(text, label))


@pytest.mark.parametrize("core", SEQUENCES, ids=[core.name for core in SEQUENCES])
def test_sequences_are_shown_as_measured(core: Path) -> None:
    """Means over seeds, of whole sequences or of tokens, and how many seeds have 99 % or more."""
    section = PAGES["sequences.md"].split(f"\n## {core.parent.name}\n")[1].partition("\n## ")[0]
    tests = [read(run / "test.json") for run in sorted(core.parent.glob(f"{core.name}-[0-9]"))]
    measure = "tokens" if tests[0]["by_token"] else "sequences"
    shown = cells(row(section, f"`{core.name}`"))[2:]
    for cell, name in zip(shown, tests[0]["bins"], strict=False):
        values = [test["bins"][name][measure] for test in tests]
        assert cell == f"{100 * np.mean(values):.1f} ({sum(value >= 0.99 for value in values)} of {len(values)})"
    last = list(tests[0]["bins"])[-1]
    assert shown[-1] == ", ".join(f"{test['bins'][last]['reached']}" for test in tests)


@pytest.mark.parametrize("page", HEADLINES)
def test_the_overview_shows_accuracies_as_measured(page: str) -> None:
    matrix, other = HEADLINES[page]
    beside = (
        read(LOGS / other / "baselines.json")[PROTOTYPES_NORMALIZED] if other == matrix else read(LOGS / other / "test.json")
    )
    assert overview(page)[1::2] == [percent(read(LOGS / matrix / "test.json")), percent(beside)]


def test_the_overview_has_a_row_for_each_page() -> None:
    rows = [line for line in OVERVIEW.splitlines() if line.startswith("| [")]
    assert sorted(re.findall(r"\]\((\S+\.md)\)", "".join(rows))) == sorted(RESULTS)


@pytest.mark.parametrize("page", [*RESULTS, "README.md"])
def test_a_cell_has_one_number(page: str) -> None:
    """With its interval or range; numbers in labels, which have letters, do not count."""
    number = r"[+-]?\d[\d,]*(\.\d+)?( ± \d+\.\d+)?( %)?( \[[^\]]+\])?"
    shown = [cell for cell in table_cells(RESULTS.get(page, OVERVIEW)) if re.match(r"[+-]?\d", cell)]
    assert [
        cell for cell in shown if not re.fullmatch(number, cell) and not re.search(r"[a-z]{3}", cell) and cell[-2:] not in NTH
    ] == []


def test_the_overview_of_splits_two_tasks_and_glyphs_is_what_their_pages_say() -> None:
    text = RESULTS["mini-imagenet-splits.md"]
    lost = [cells(row(text, f"one example: {label}")) for label in ("matrix", "class means")]
    points = [f"{float(each[1].split()[0]) - float(each[3].split()[0]):.1f}" for each in lost]
    assert overview("mini-imagenet-splits.md")[1::2] == points
    tasks = [cells(row(RESULTS["two-tasks.md"], label))[2] for label in ("`srwm` |", "`deltanet` |")]
    assert overview("two-tasks.md")[1::2] == tasks
    drawn = [
        cells(row(RESULTS["glyphs-to-omniglot.md"], label))[1] for label in ("self-referential", ROWS[PROTOTYPES_NORMALIZED])
    ]
    assert overview("glyphs-to-omniglot.md")[1::2] == drawn
    returns = [cells(row(RESULTS["memory-gradients.md"], CORES[core]))[3].split()[0] for core in ("srwm", "srwm-detached")]
    assert overview("memory-gradients.md")[1::2] == returns


@pytest.mark.parametrize(
    ("shots", "log"), [("one example", "1shot/decay-0.5-100-minutes"), ("five examples", "5shot/decay-0.5-90-minutes")]
)
def test_accuracies_on_each_split_are_shown_as_measured(shots: str, log: str) -> None:
    text, folder = RESULTS["mini-imagenet-splits.md"], LOGS / f"mini-imagenet-{log}"
    scores = [read(folder / f"{split}.json") for split in ("train", "val", "test")]
    assert [each["data"] for each in scores] == [f"mini-imagenet-{split}" for split in ("train", "val", "test")]
    means = [read(folder / f"{name}.json")[PROTOTYPES_NORMALIZED] for name in ("train-baselines", "val-baselines", "baselines")]
    for label, measured in (("matrix", scores), ("class means", means)):
        assert all(each["episodes"] >= 10_000 for each in measured)
        assert cells(row(text, f"{shots}: {label}"))[1:] == list(map(percent, measured))


@pytest.mark.parametrize(("label", "log"), [("twice the decay", "decay-1"), ("five to ten classes", "10-ways")])
def test_accuracies_of_recipes_are_shown_as_measured(label: str, log: str) -> None:
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
    others = {("two-tasks.md", "adaptation.png"), ("streams.md", "streams-drift.png")}
    assert {(page, figure) for page, _, figure in CURVES} == FIGURES - others


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
def test_rates_are_shown_as_validated(log: str) -> None:
    folder = LOGS / "mini-imagenet-1shot-rates" / log
    line = row(page_of(folder), RATES[log])
    found = {step["cpu_minutes"]: step["val_accuracy"] for step in read_metrics(folder) if "val_accuracy" in step}
    for cell, (low, high) in zip(cells(line)[1:3], ((4.5, 6), (9.5, 11)), strict=True):
        (value,) = [value for minutes, value in found.items() if low < minutes < high] or [None]
        assert cell == ("" if value is None or not cell else f"{100 * value:.1f} %")


@pytest.mark.parametrize("heads", [16, 8, 4])
def test_heads_are_shown_as_validated(heads: int) -> None:
    """The matrix of 16 heads is that of the learners; its first validation after as many steps."""
    folder = LOGS / ("omniglot-1shot-learners/srwm-16-heads" if heads == 16 else f"omniglot-1shot-heads/{heads}")
    (found,) = [step for step in read_metrics(folder) if step["step"] == 500 and "val_accuracy" in step]
    shown = cells(row(RESULTS["omniglot-learners.md"], f"matrix, {heads} heads"))[1:]
    accuracy = f"{100 * found['val_accuracy']:.1f} ± {100 * found['val_interval']:.1f} %"
    assert shown == [accuracy, f"{found['cpu_minutes']:.1f}"]


@pytest.mark.parametrize("run", sorted(LOGS.glob("sequential*/*")), ids=lambda run: f"{run.parent.name}-{run.name}")
def test_accuracies_of_adaptation_are_shown_as_measured(run: Path) -> None:
    line = row(page_of(run), f"`{run.name}`{', 12 minutes' if run.parent.name == 'sequential-12' else ' |'}")
    tasks = [task["total"] for order in read(run / "adaptation.json")["orders"] for task in order["tasks"]]
    assert all(total["episodes"] >= 10_000 for total in tasks)
    shown = [f"{100 * total['mean']:.1f} ± {100 * total['interval']:.1f} %" for total in tasks]
    assert cells(line)[1:5] == shown


@pytest.mark.parametrize("run", sorted(LOGS.glob("sequential/*")), ids=lambda run: run.name)
def test_accuracies_per_shot_of_second_tasks_are_shown_as_measured(run: Path) -> None:
    for order in read(run / "adaptation.json")["orders"]:
        task = order["tasks"][1]
        name = {"omniglot-test": "Omniglot", "mini-imagenet-test": "Mini-ImageNet"}[task["data"]]
        shown = cells(row(page_of(run), f"{name} | `{run.name}`"))[2:]
        assert shown == [f"{100 * task['shots'][shot - 1]['mean']:.1f} %" for shot in (1, 2, 3, 5, 10, 15)]
