"""Runs of the program, made once each (finished runs are not repeated, interrupted ones continue), and their comparison."""

import json
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import machine
from pages import write_section
from srwm.training.metrics import read_metrics
from srwm.training.runs import write_json

_MACHINE = "machine.json"
_LATE = 200
"""Steps over which the training accuracy at the end is taken."""
TEST = (10_000, 15, 1)
"""Episodes, queries and seed of the test that few-shot training ends with."""
Item = TypeVar("Item")
Chosen = TypeVar("Chosen", bound="Options")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of a comparison of variants of a preset."""

    runs: Path
    """folder for the run folders"""
    preset: str
    """what the runs differ from"""
    only: tuple[str, ...]
    """variants to make and show"""
    seeds: tuple[int, ...] = (0,)
    """a run of each variant for each of these"""
    jobs: int = 1
    """runs side by side"""
    json: Path | None = None
    """where to write every figure"""
    markdown: Path | None = None
    """page whose section on this preset is rewritten, with a figure beside it, besides the terminal"""


def compare(
    options: Chosen,
    variants: Collection[str],
    presets: Collection[str],
    *,
    make_one: Callable[[str, int, Chosen], None],
    result: Callable[[str, Chosen], dict[str, Any]],
    section: Callable[[list[dict[str, Any]], Chosen], str],
    draw: Callable[[Path, Chosen], str],
    title: str,
    kind: str,
    metadata: dict[str, Any],
) -> None:
    """Make the runs that have not been made yet, then print the section and write what is wanted.

    `make_one` makes the run of a variant and a seed, `result` reads a variant's, `section` prints all of them, and `draw` draws
    them to a path and says what the figure shows, each by the options; `title` opens a new page. In the JSON the results are
    called `kind`, and `metadata` stand beside them.
    """
    if set(options.only) - set(variants) or options.preset not in presets:
        raise SystemExit(f"--only, --preset: expected some of {', '.join(variants)} and one of {', '.join(presets)}")
    machine.check_outputs(options.json, options.markdown)
    options.runs.mkdir(parents=True, exist_ok=True)
    pairs = [(name, seed) for seed in options.seeds for name in options.only]
    side_by_side(options.jobs, lambda pair: make_one(*pair, options), pairs)
    rows = [result(name, options) for name in options.only]
    text = section(rows, options)
    if options.json is not None:
        write_json(options.json, {"preset": options.preset, "seeds": list(options.seeds), **metadata, kind: rows})
    if options.markdown is not None:
        figure = options.markdown.with_name(f"{options.markdown.stem}-{options.preset}.png")
        text += f"\n![{draw(figure, options)}]({figure.name})\n"
        write_section(options.markdown, title, text)
    print(text)


def make(
    folder: Path, train: Sequence[str], results: Mapping[str, Sequence[str]] | None = None, data: Path | None = None
) -> None:
    """Call `srwm`, on one thread, for what a run folder does not have: its training, and results by their files' names.

    `data` is where training finds its data set. Raises SystemExit where the training in the folder is another one
    (folders of older versions do not say, and are trusted).
    """
    made = json.loads((folder / _MACHINE).read_text()) if (folder / _MACHINE).exists() else None
    if made is None:
        place = ["--run", str(folder), *([] if data is None else ["--data-dir", str(data)])]
        _call([*train, *place, *(["--resume"] if folder.exists() else [])])
        write_json(folder / _MACHINE, {"cpu": machine.cpu_model(), "train": list(train)})
    elif made.get("train", list(train)) != list(train):
        raise SystemExit(f"{folder} was made by srwm {' '.join(made['train'])}; expected srwm {' '.join(train)}")
    for name, command in (results or {}).items():
        if not (folder / name).exists():
            _call(command)


def _call(command: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "srwm", *command, "--threads", "1"], check=True, stdout=subprocess.DEVNULL)


def side_by_side(jobs: int, make_one: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Make several, `jobs` at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make_one, items))


def last_training(folder: Path) -> dict[str, float]:
    """The last metrics before a validation in a run folder, but the training accuracy of the last 200 steps, or some more."""
    rows = read_metrics(folder)
    training = [row for row in rows if "val_accuracy" not in row]
    if not training:
        raise SystemExit(f"{folder}: too short a run, it logged nothing; give it more time")
    begins = [0.0, *(row["step"] for row in rows)]
    late = [(begin, row) for begin, row in zip(begins, rows, strict=False) if row["step"] > rows[-1]["step"] - _LATE]
    total = sum((row["step"] - begin) * row["train_accuracy"] for begin, row in late)
    return training[-1] | {"train_accuracy": total / (rows[-1]["step"] - late[0][0])}


def read_test(folder: Path) -> dict[str, Any]:
    """The test of a few-shot run. Raises SystemExit where another evaluation has replaced the one that training ends with."""
    test: dict[str, Any] = json.loads((folder / "test.json").read_text())
    if (test["episodes"], test["queries"], test["seed"]) != TEST:
        raise SystemExit(f"{folder / 'test.json'}: expected {TEST} episodes, queries and seed, see srwm fewshot evaluate")
    return test


def processors(folders: Iterable[Path]) -> str:
    """Of the machines that the runs were made on."""
    return " and ".join(sorted({json.loads((folder / _MACHINE).read_text())["cpu"] for folder in folders}))
