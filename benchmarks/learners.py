"""Learners side by side in few-shot learning: runs of equal CPU time that differ from a preset in what learns.

    python benchmarks/learners.py --preset cpu-omniglot-1shot --cpu-minutes 45 --runs FOLDER --markdown learners.md

Runs are those of `srwm fewshot train`, one thread each, `--jobs` of them side by side; what has ended is not repeated. `--only
NAME...` and `--seeds` make and show a part, so that several machines or a queue can share the work; the whole command then
prints the whole table. All have the stem, the data and the recipe of the preset, whose settings were chosen for the matrix.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any

import tyro

import runs
from srwm.fewshot.figures.curves import draw_learning_curves
from srwm.fewshot.presets import PRESETS
from srwm.fewshot.report import load_best
from srwm.training.metrics import read_metrics

VARIANTS: dict[str, tuple[str, ...]] = {
    "srwm": (),
    "deltanet": ("--model.stack.core", "deltanet"),
    # 384 units have as many parameters as the matrix with its feed-forward layers
    "lstm": (
        *("--model.stack.core", "lstm", "--model.stack.num-layers", "1", "--model.stack.ff-factor", "0"),
        *("--model.stack.residual", "none", "--model.stack.d-model", "384"),
    ),
    "prototypes": ("--model.head", "prototypes"),
    "bootstrap": ("--protocol", "bootstrap", "--auxiliary.weight", "5.5"),
}
TITLE = """# Comparison of learners

Each section is written by `python benchmarks/learners.py --preset PRESET --runs FOLDER --markdown PAGE`, with the options
in the section.
"""
_WIDTH = 128


@dataclass(frozen=True, kw_only=True)
class Options(runs.Options):
    """Compare learners at equal CPU time."""

    preset: str = "cpu-omniglot-1shot"
    """what the runs differ from"""
    only: tuple[str, ...] = ("srwm", "deltanet", "lstm", "prototypes")
    """make and show these: srwm, deltanet, lstm, prototypes, or bootstrap (srwm with bootstrapped training)"""
    cpu_minutes: float = 45
    """minutes of CPU time of each run, one thread, validations included"""
    data_dir: Path | None = None
    """folder of the data set"""


def main(options: Options) -> None:
    """Compare them."""
    runs.compare(
        options,
        VARIANTS,
        PRESETS,
        make_one=train,
        result=result,
        section=section,
        draw=draw,
        title=TITLE,
        kind="learners",
        metadata={"cpu_minutes": options.cpu_minutes},
    )


def draw(figure: Path, options: Options) -> str:
    """Learning curves of the first seed."""
    draw_learning_curves([folder_of(name, options.seeds[0], options) for name in options.only], figure)
    return f"Accuracy and loss over minutes of CPU time, seed {options.seeds[0]}"


def folder_of(name: str, seed: int, options: Options) -> Path:
    """Where a run lies; learning curves are named by the folder's last part."""
    return options.runs / f"{options.preset}-{options.cpu_minutes:g}-{seed}" / name


def train(name: str, seed: int, options: Options) -> None:
    """Train and test one learner with one seed, unless that has been done."""
    folder = folder_of(name, seed, options)
    folder.parent.mkdir(exist_ok=True)
    budget = ["--minutes", "None", "--cpu-minutes", str(options.cpu_minutes), "--seed", str(seed)]
    runs.make(folder, ["fewshot", "train", options.preset, *budget, *VARIANTS[name]], data=options.data_dir)


def result(name: str, options: Options) -> dict[str, Any]:
    """What came of one learner, test accuracy and its interval over episodes for each seed."""
    folders = [folder_of(name, seed, options) for seed in options.seeds]
    last = [runs.last_training(folder) for folder in folders]
    tests = [runs.read_test(folder) for folder in folders]
    return {
        "name": name,
        "parameters": sum(p.numel() for p in load_best(folders[0]).parameters()),
        "steps": fmean(read_metrics(folder)[-1]["step"] for folder in folders),
        "train": fmean(row["train_accuracy"] for row in last),
        "test": [test["mean"] for test in tests],
        "interval": [test["interval"] for test in tests],
    }


def section(rows: list[dict[str, Any]], options: Options) -> str:
    """The results as a section of the documentation."""
    several = len(options.seeds) > 1
    folders = [folder_of(row["name"], seed, options) for row in rows for seed in options.seeds]
    about = (
        f"Preset `{options.preset}`, {options.cpu_minutes:g} minutes of CPU time of one thread of "
        f"{runs.processors(folders)} each, seed{'s' if several else ''} {', '.join(map(str, options.seeds))}. Training "
        "accuracy: of the last 200 steps, on images as training sees them. All have the preset's settings, which were chosen "
        f"for `srwm`. Test: {runs.TEST[0]:,} episodes, "
        + ("mean and range over seeds." if several else "95 % interval over episodes.")
    )
    lines = [
        "| learner | parameters | steps | training accuracy, % | test accuracy, % |",
        "|---|---|---|---|---|",
        *(
            f"| `{row['name']}` | {row['parameters']:,} | {row['steps']:,.0f} | {100 * row['train']:.1f} | {_test(row)} |"
            for row in rows
        ),
    ]
    return f"## {options.preset}\n\n{fill(about, _WIDTH)}\n\n" + "\n".join(lines) + "\n"


def _test(row: dict[str, Any]) -> str:
    found = [100 * value for value in row["test"]]
    if len(found) == 1:
        return f"{found[0]:.2f} ± {100 * row['interval'][0]:.2f}"
    return f"{fmean(found):.2f} [{min(found):.2f}, {max(found):.2f}]"


if __name__ == "__main__":
    main(tyro.cli(Options))
