"""Cores side by side in reinforcement learning: runs of equal budget that differ from a preset in their core.

    python benchmarks/cores.py --preset cpu-memory-repeat-previous --runs FOLDER --seeds 0 1 2 --markdown docs/rl-memory.md

Runs are those of `srwm rl train` and `srwm rl evaluate`, one thread each, `--jobs` of them side by side; what has ended is not
repeated. `--only NAME...` and `--seeds` make and show a part, so that several machines or a queue can share the work; the whole
command then prints the whole table.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import Any

import numpy as np
import tyro

import runs
from srwm.rl.config import TrainConfig
from srwm.rl.curves import draw_comparison
from srwm.rl.presets import CORES, PRESETS
from srwm.rl.report import scores_file, summary
from srwm.training.metrics import read_metrics
from srwm.training.runs import read_config_of

VARIANTS: dict[str, tuple[str, ...]] = {
    "srwm": (),
    "srwm-softmax": ("--agent.stack.core-options.input-softmax",),
    "srwm-detached": ("--agent.detach-every-step",),
    **{name: ("--core", name) for name in CORES if name != "srwm"},
}
TITLE = """# Comparison of cores

Each section is written by `python benchmarks/cores.py --preset PRESET --runs FOLDER --markdown PAGE`, with the options in the
section. Cores are those of `srwm rl train --core`; `srwm-softmax` has a softmax on its input, `srwm-detached` has no gradient
from step to step, and `srwm-no-carry` starts every step with a fresh matrix.
"""
_WIDTH = 128
_EPISODES = 200
"""Of an evaluation, per task and level set."""


@dataclass(frozen=True, kw_only=True)
class Options(runs.Options):
    """Compare cores at an equal budget."""

    only: tuple[str, ...] = ("srwm", "srwm-softmax", "srwm-detached", "deltanet", "lstm", "none")
    """cores by their names in `srwm rl train`, or srwm-softmax (input softmax) and srwm-detached (no gradient between steps)"""
    budget: tuple[str, ...] = ()
    """options of `srwm rl train` that set another budget than the preset's, without their dashes: cpu-minutes 45 frames None"""
    sampled: bool = False
    """evaluate by actions drawn from the policy, not by the most likely ones"""


def main(options: Options) -> None:
    """Compare them."""
    runs.compare(
        options,
        VARIANTS,
        PRESETS,
        make_one=run,
        result=result,
        section=section,
        draw=draw,
        title=TITLE,
        kind="cores",
        metadata={},
    )


def draw(figure: Path, options: Options) -> str:
    """Returns over frames and time, of the one thread that each run has."""
    groups = {name: [folder_of(name, seed, options) for seed in options.seeds] for name in options.only}
    draw_comparison(groups, figure, processor_time=True)
    return "Training episodes: a color for each core, a line for each seed"


def folder_of(name: str, seed: int, options: Options) -> Path:
    return options.runs / f"{options.preset}-{name}-{seed}"


def run(name: str, seed: int, options: Options) -> None:
    """Train and evaluate one core with one seed, and chance unless another core's run has it, where that has not been done."""
    folder = folder_of(name, seed, options)
    words = [f"--{word}" if index % 2 == 0 else word for index, word in enumerate(options.budget)]
    train = ["rl", "train", options.preset, *VARIANTS[name], *words, "--seed", str(seed)]
    evaluate = ["rl", "evaluate", str(folder), "--episodes", str(_EPISODES)]
    results = {
        scores_file(greedy=not options.sampled): [*evaluate, *(["--no-greedy"] if options.sampled else [])],
    }
    if not scores_of_chance(options):
        results[scores_file(chance=True)] = [*evaluate, "--chance"]
    runs.make(folder, train, results)


def scores_of_chance(options: Options) -> list[Path]:
    """Where they are; those of any core and seed, since the tasks are those of the preset."""
    return sorted(options.runs.glob(f"{options.preset}-*/{scores_file(chance=True)}"))


def result(name: str, options: Options) -> dict[str, Any]:
    """What came of one core: frames and scores of each of its seeds, and the scores of chance in the same tasks."""
    folders = [folder_of(name, seed, options) for seed in options.seeds]
    chance, *_ = scores_of_chance(options)
    sets = read_scores(chance).values()
    several_tasks = all(len(measured["returns"]) > 1 for measured in sets)
    return {
        "name": name,
        "normalized": all(map(_is_normalized, sets)),
        "frames": [read_metrics(folder)[-1]["frames"] for folder in folders],
        "scores": [scores(folder / scores_file(greedy=not options.sampled)) for folder in folders],
        "chance": scores(chance),
        "games": training_returns(folders[0]) if len(folders) == 1 and several_tasks else None,
    }


def training_returns(folder: Path) -> dict[str, dict[str, Any]]:
    """The statistics of training episodes in the first and in the last fifth of a run, as an evaluation's of a level set.

    Of the rows of metrics in which every task has an episode, all of one weight, a short last row left out; intervals are from
    a bootstrap over rows. Raises SystemExit where the run has fewer than five such rows.
    """
    config = read_config_of(folder, TrainConfig)
    rows = [row for row in read_metrics(folder) if "return" in row and row["step"] % config.log_every == 0]
    size = len(rows) // 5
    if not size:
        raise SystemExit(f"{folder}: too short a run, expected five rows of metrics with an episode of every task in each")

    def of(part: list[dict[str, float]]) -> dict[str, Any]:
        returns = {task: np.array([row[f"return_{task}"] for row in part]) for task in sorted(config.env.names)}
        return summary(returns, config.env)

    return {"first": of(rows[:size]), "last": of(rows[-size:])}


def scores(path: Path) -> dict[str, dict[str, float]]:
    """Of training levels and of test levels, or of the tasks where there are no levels: mean score and its interval.

    A score is the normalized one, times 100, where there is one for several tasks; else the mean return. The interval of the
    mean of several level sets is that of independent ones.
    """
    sets = read_scores(path)

    groups = {"all": list(sets)} if len(sets) == 1 else {"train": ["train"], "test": [name for name in sets if name != "train"]}
    return {group: _mean([_score(sets[name]) for name in names]) for group, names in groups.items()}


def read_scores(path: Path) -> dict[str, Any]:
    """The statistics of each level set. Raises SystemExit where they are of another number of episodes."""
    found = json.loads(path.read_text())
    if found["episodes"] != _EPISODES:
        raise SystemExit(f"{path}: expected {_EPISODES} episodes, got {found['episodes']}; see srwm rl evaluate")
    sets: dict[str, Any] = found["sets"]
    return sets


def section(rows: list[dict[str, Any]], options: Options) -> str:
    """The results as a section of the documentation."""
    groups = list(rows[0]["chance"])
    several = len(options.seeds) > 1
    actions = "actions drawn from the policy" if options.sampled else "the most likely action"
    games = "" if rows[0]["games"] is None else " (mean returns of the games)"
    normalized = " (normalized, times 100)" if rows[0]["normalized"] else games
    bootstrap = "95 % bootstrap intervals over episodes (of test levels, of the mean of three sets)"
    spread = "the range over seeds" if several else bootstrap
    budget = f" {' '.join(options.budget)}" if options.budget else ""
    folders = [folder_of(row["name"], seed, options) for row in rows for seed in options.seeds]
    about = (
        f"Preset `{options.preset}`{budget}, one thread of {runs.processors(folders)}, "
        f"seed{'s' if several else ''} {', '.join(map(str, options.seeds))}. Scores{normalized} are of {_EPISODES} episodes "
        f"per task and level set after training, {actions}; in brackets {spread}."
    )
    head = " | ".join({"all": "return", "train": "training levels", "test": "test levels"}[group] for group in groups)
    lines = [f"| core | million frames | {head} |", f"|---|---|{'---|' * len(groups)}"]
    lines += [
        f"| `{row['name']}` | {fmean(row['frames']) / 1e6:.2f} | {_cells(row['scores'], groups, several)} |" for row in rows
    ]
    lines.append(f"| actions at random | | {_cells([rows[0]['chance']], groups, several=False)} |")
    text = f"## {options.preset}\n\n{fill(about, _WIDTH)}\n\n" + "\n".join(lines) + "\n"
    return text + (_games(rows) if rows[0]["games"] else "")


def _games(rows: list[dict[str, Any]]) -> str:
    """What training episodes earned in each of several games."""
    tasks = list(rows[0]["games"]["first"]["returns"])
    about, columns = "Training episodes, in the first fifth of the frames and in the last: mean return in each game", tasks
    if rows[0]["normalized"]:
        about += ", and normalized score, times 100, with its 95 % bootstrap interval"
        columns = [*tasks, "normalized"]
    lines = [f"| core | | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for row in rows:
        for name, part in row["games"].items():
            cells = [f"{part['returns'][task]['value']:.2f}" for task in tasks]
            if rows[0]["normalized"]:
                cells.append("{value:.2f} [{low:.2f}, {high:.2f}]".format(**_score(part)))
            lines.append(f"| `{row['name']}` | {name} | {' | '.join(cells)} |")
    return f"\n{fill(f'{about}.', _WIDTH)}\n\n" + "\n".join(lines) + "\n"


def _is_normalized(measured: dict[str, Any]) -> bool:
    return "normalized mean" in measured and len(measured["returns"]) > 1


def _score(measured: dict[str, Any]) -> dict[str, float]:
    """Of a level set, times 100 if normalized, else the mean over tasks."""
    if _is_normalized(measured):
        return {end: 100 * float(value) for end, value in measured["normalized mean"].items()}
    return _mean(list(measured["returns"].values()))


def _mean(estimates: list[dict[str, float]]) -> dict[str, float]:
    """Of independent estimates, with its interval."""
    value = fmean(each["value"] for each in estimates)
    below, above = (hypot(*(each["value"] - each[end] for each in estimates)) / len(estimates) for end in ("low", "high"))
    return {"value": value, "low": value - below, "high": value + above}


def _cells(found: list[dict[str, dict[str, float]]], groups: list[str], several: bool) -> str:
    def cell(group: str) -> str:
        values = [each[group]["value"] for each in found]
        ends: dict[str, Callable[..., float]] = {"low": min, "high": max}
        low, high = (pick(values) if several else found[0][group][end] for end, pick in ends.items())
        return f"{fmean(values):.2f} [{low:.2f}, {high:.2f}]"

    return " | ".join(map(cell, groups))


if __name__ == "__main__":
    main(tyro.cli(Options))
