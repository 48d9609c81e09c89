"""Cores side by side on sequence tasks: runs of equal budget that differ from a preset in their core.

    python benchmarks/sequences.py --runs FOLDER --tasks parity s3 --only srwm lstm --seeds 0 1 2 --cpu-minutes 10
    python benchmarks/sequences.py --runs FOLDER --markdown docs/sequences.md ...

Runs are those of `srwm sequences train`, one thread each, `--jobs` of them side by side; what has ended is not repeated, and
what was interrupted continues. `--tasks`, `--only` and `--seeds` make and show a part, so that several machines or a queue can
share the work; the whole command then prints the whole tables. Each task is a section of the page, with a figure beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Annotated, Any

import tyro

import machine
import runs
from pages import write_section
from srwm.errors import UserError
from srwm.nn import CORES as ALL_CORES
from srwm.ranges import Above, AtLeast
from srwm.sequences.config import TrainConfig
from srwm.sequences.curves import draw_curves
from srwm.sequences.presets import CORES, PRESETS
from srwm.sequences.report import CLASS_MEANS, read_test
from srwm.training.configuration import check_values
from srwm.training.metrics import read_metrics
from srwm.training.runs import read_config_of

TITLE = "# Sequence tasks\n"
_WIDTH = 128
_SOLVED = 0.99
"""Share of sequences, or of answers where accuracy is that of tokens, from which a seed has solved a bin."""
_DRAWINGS = "automaton-drawings"
TASKS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in PRESETS},
    _DRAWINGS: ("automaton", "--task.automaton.symbols", "drawings"),
}
"""What trains on each task: its preset, or the preset with other options."""


def _with_option(core: str, option: str, *values: str) -> dict[str, tuple[str, ...]]:
    """Variants of a core by one of its options, where it has it."""
    if core not in ALL_CORES or option not in ALL_CORES[core].default_options():
        return {}
    flag = f"--stack.core-options.{option.replace('_', '-')}"
    return {f"{core}-{option.replace('_', '-')}-{value}": ("--core", core, flag, value) for value in values}


VARIANTS: dict[str, tuple[str, ...]] = {
    **{name: ("--core", name) for name in CORES},
    **{
        name: (*words, "--stack.core-options.feature-map", "l2")
        for name, words in _with_option("deltanet", "beta_max", "2.0").items()
    },
    **_with_option("self_modifying_memory", "chunk_size", "4", "16", "64"),
}
"""Cores, and variants of them, as options of `srwm sequences train`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare cores on sequence tasks at an equal budget."""

    runs: Path
    """folder for the run folders"""
    tasks: tuple[str, ...] = tuple(TASKS)
    """tasks to train on and show: presets, or automaton-drawings"""
    only: tuple[str, ...] = tuple(CORES)
    """cores, or variants of them, to train and show"""
    seeds: tuple[Annotated[int, AtLeast(0)], ...] = (0, 1, 2)
    """a run for each of these"""
    cpu_minutes: Annotated[float, Above(0)] | None = None
    """CPU minutes of each run; None: those of the preset"""
    sequences: Annotated[int, AtLeast(1)] = 2000
    """sequences of each bin of a test"""
    jobs: Annotated[int, AtLeast(1)] = 1
    """runs side by side"""
    markdown: Path | None = None
    """page whose sections on these tasks are rewritten, with a figure beside it, besides the terminal"""


def main(options: Options) -> None:
    """Make the runs that are missing, then print the sections."""
    check(options)
    options.runs.mkdir(parents=True, exist_ok=True)
    keys = [(task, name, seed) for seed in options.seeds for task in options.tasks for name in options.only]
    runs.side_by_side(options.jobs, lambda key: run(*key, options), keys)
    for task in options.tasks:
        text = section(task, options)
        if options.markdown is not None:
            figure = options.markdown.with_name(f"{options.markdown.stem}-{task}.png")
            draw_curves([folder_of(task, name, options.seeds[0], options) for name in options.only], figure)
            text += f"\n![Right answers over minutes of training and over positions, seed {options.seeds[0]}]({figure.name})\n"
            write_section(options.markdown, TITLE, text)
        print(text)


def check(options: Options) -> None:
    """Raise SystemExit where an option names what there is not."""
    for given, known, option in ((options.tasks, TASKS, "tasks"), (options.only, VARIANTS, "only")):
        for each in given:
            if each not in known:
                raise SystemExit(f"--{option}: expected some of {', '.join(known)}, got {each}")
    try:
        check_values(options)
    except UserError as error:
        raise SystemExit(f"--{error}") from error
    machine.check_outputs(None, options.markdown)


def folder_of(task: str, name: str, seed: int, options: Options) -> Path:
    """The run folder of a variant on a task."""
    return options.runs / task / f"{name}-{seed}"


def run(task: str, name: str, seed: int, options: Options) -> None:
    """Train and test one core on one task with one seed, where that has not been done."""
    preset, *others = TASKS[task]
    budget = [] if options.cpu_minutes is None else ["--cpu-minutes", str(options.cpu_minutes)]
    tests = ["--test-sequences", str(options.sequences)]
    words = ["sequences", "train", preset, *VARIANTS[name], *others, *budget, *tests, "--seed", str(seed)]
    runs.make(folder_of(task, name, seed, options), words)


def result(folder: Path, options: Options) -> dict[str, Any]:
    """The test of a run. Raises SystemExit where it is of another number of sequences."""
    test = read_test(folder)
    if test["sequences"] != options.sequences:
        raise SystemExit(f"{folder / 'test.json'}: expected {options.sequences} sequences, got {test['sequences']}")
    return test


def section(task: str, options: Options) -> str:
    """The results on a task as a section of the documentation."""
    tests = {name: [result(folder_of(task, name, seed, options), options) for seed in options.seeds] for name in options.only}
    folders = [folder_of(task, name, seed, options) for name in options.only for seed in options.seeds]
    config = read_config_of(folders[0], TrainConfig)
    by_token = tests[options.only[0]][0]["by_token"]
    bins = [name for name in tests[options.only[0]][0]["bins"] if not name.startswith(CLASS_MEANS)]
    what = "answers" if by_token else "sequences with every answer right"
    seeds = f"seed{'s' * (len(options.seeds) > 1)} {', '.join(map(str, options.seeds))}"
    purpose, task_config = PRESETS[config.task.name][0], config.task
    about = (
        f"{purpose[0].upper()}{purpose[1:]}. Trained on lengths of {task_config.min_length} to {task_config.max_length}, "
        f"{config.budget}, one thread of {runs.processors(folders)}, {seeds}. Share of {what} in {options.sequences:,} test "
        f"sequences of each bin, %: mean over seeds, and in brackets how many of them have {100 * _SOLVED:.0f} % or more; "
        "reached: the largest number of positions of the longest bin whose mean accuracy is above 95 %, for each seed."
    )
    lines = [f"| core | steps | {' | '.join(bins)} | reached |", f"|---|---|{'---|' * len(bins)}---|"]
    for name, found in tests.items():
        steps = fmean(read_metrics(folder_of(task, name, seed, options))[-1]["step"] for seed in options.seeds)
        lines.append(_row(f"`{name}`", f"{steps:,.0f}", bins, found, by_token))
    if config.task.automaton is not None:
        for name, found in tests.items():
            own = [CLASS_MEANS + each for each in bins]
            lines.append(_row(f"class means of the stem of `{name}`, and a perfect tracker", "", own, found, by_token))
    return f"## {task}\n\n{fill(about, _WIDTH)}\n\n" + "\n".join(lines) + "\n"


def _row(name: str, steps: str, bins: Sequence[str], tests: Sequence[dict[str, Any]], by_token: bool) -> str:
    cells = []
    for each in bins:
        values = [test["bins"][each]["tokens" if by_token else "sequences"] for test in tests]
        solved = sum(value >= _SOLVED for value in values)
        cells.append(f"{100 * fmean(values):.1f} ({solved} of {len(values)})")
    reached = ", ".join(f"{test['bins'][bins[-1]]['reached']:,}" for test in tests)
    return f"| {name} | {steps} | {' | '.join(cells)} | {reached} |"


if __name__ == "__main__":
    main(tyro.cli(Options))
