"""Ablation of a training recipe: runs of equal CPU time that differ from a preset in one thing.

    python benchmarks/fewshot.py --data-dir DATA --runs FOLDER --markdown docs/fewshot-recipe.md

Runs are those of `srwm fewshot train`, one thread each, `--jobs` of them side by side; a run that has ended is not repeated.
`--only NAME...` makes and shows a few of them alone, so that several machines or a queue can share the work; the command
without it then prints the whole table. How convolutions lie in memory is no option of a training: their speed is measured here,
on steps of the same training. Early stopping is read off the validations of longer runs, `--long-runs`.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import torch
import tyro

import machine
import runs
from pages import write_section
from srwm.data.splits import load_splits
from srwm.fewshot.augment import augment
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.images import to_float
from srwm.fewshot.presets import PRESETS
from srwm.fewshot.protocols.registry import build_protocol, read_config
from srwm.training.metrics import read_metrics
from srwm.training.optimizer import build_optimizer
from srwm.training.runs import write_json

VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "preset": ("the preset", ()),
    "no-auxiliary": ("no auxiliary loss", ("--auxiliary.kind", "none")),
    "classes": ("auxiliary loss: classes", ("--auxiliary.kind", "classes")),
    "neighbors": ("auxiliary loss: neighbors", ("--auxiliary.kind", "neighbors")),
    "per-episode": (
        "separate images for every episode (32 per step) instead of a pool",
        ("--sampler", "per-episode", "--episodes", "32"),
    ),
    "one-query": ("one query per episode", ("--queries", "1")),
    "paper-input": ("the paper's input instead of the balanced one", ("--model.input", "paper")),
    "float32": ("float32 instead of bfloat16", ("--precision", "float32")),
    "no-distortions": ("no distortions of the images", ("--no-augment",)),
    "constant-rate": ("constant learning rate", ("--schedule", "constant")),
    "no-average": ("no moving average of the weights", ("--ema-decay", "None")),
    "no-decay": ("no weight decay", ("--optimizer.weight-decay", "0")),
}
LAYOUTS = "layouts"
TITLE = """# Ablation of the few-shot recipe

Each section is written by `python benchmarks/fewshot.py --preset PRESET --runs FOLDER --markdown docs/fewshot-recipe.md`.
"""
_ROUNDS, _STEPS = 4, 15
_PATIENCE = (2, 4, 8)
_WIDTH = 128


@dataclass(frozen=True)
class Options:
    """Compare training recipes at equal CPU time."""

    runs: Path
    """folder for the run folders"""
    preset: str = "cpu-omniglot-1shot"
    """what the runs differ from"""
    data_dir: Path | None = None
    """folder of the data set"""
    cpu_minutes: float = 4
    """minutes of CPU time per run, one thread, the validation at the end included"""
    only: tuple[str, ...] = ()
    """make and show these alone: names of variants, or `layouts`; none: all"""
    jobs: int = 1
    """runs side by side"""
    seed: int = 0
    """seed of every run"""
    long_runs: tuple[Path, ...] = ()
    """run folders of longer trainings, for what early stopping would have done to them"""
    markdown: Path | None = None
    """page whose section on this preset is rewritten, besides the terminal"""


def main(options: Options) -> None:
    """Make the runs that have not been made yet, then print the table."""
    if options.preset not in PRESETS:
        raise SystemExit(f"--preset: expected one of {', '.join(PRESETS)}, got {options.preset}")
    known = [name for name, (_, changes) in VARIANTS.items() if not changes or not _is_preset(options.preset, changes)]
    unknown = set(options.only) - {*known, LAYOUTS}
    if unknown:
        raise SystemExit(f"--only: expected some of {', '.join((*known, LAYOUTS))}, got {', '.join(sorted(unknown))}")
    names = [name for name in known if not options.only or name in options.only]
    machine.check_outputs(options.markdown)
    options.runs.mkdir(parents=True, exist_ok=True)
    runs.side_by_side(options.jobs, lambda name: train(name, options), names)
    speeds: dict[str, float] = {}
    if not options.only or LAYOUTS in options.only:
        stored = options.runs / f"{LAYOUTS}.json"
        if not stored.exists():
            write_json(stored, measure_layouts(PRESETS[options.preset][1], options.data_dir))
        speeds = json.loads(stored.read_text())
    text = section([result(name, options) for name in names], speeds, options)
    print(text)
    if options.markdown is not None:
        write_section(options.markdown, TITLE, text)


def train(name: str, options: Options) -> None:
    """Train and test one variant, unless that has been done."""
    command = ["fewshot", "train", options.preset, "--seed", str(options.seed)]
    command += ["--minutes", "None", "--cpu-minutes", str(options.cpu_minutes)]
    command += ["--validate-every", "100000"]  # at the end alone
    runs.make(options.runs / name, [*command, *VARIANTS[name][1]], data=options.data_dir)


def result(name: str, options: Options) -> dict[str, Any]:
    """What came of one variant; episodes per second are those of training alone."""
    folder = options.runs / name
    config, test = read_config(folder), runs.read_test(folder)
    last = runs.last_training(folder)
    return {
        "folder": folder,
        "name": VARIANTS[name][0],
        "steps": int(last["step"]),
        "episodes": last["step"] * config.episodes / (60 * last["cpu_minutes"]),
        "train": last["train_accuracy"],
        "validation": max(row["val_accuracy"] for row in read_metrics(folder) if "val_accuracy" in row),
        "test": test["mean"],
        "interval": test["interval"],
    }


def measure_layouts(config: TrainConfig, data_dir: Path | None) -> dict[str, float]:
    """Episodes per CPU second of one training with images and kernels channels last, as built, and channels first."""
    torch.set_num_threads(1)
    data = load_splits(config.data, data_dir)["train"]
    protocol = build_protocol(config, [data])
    optimizer, draws = build_optimizer(protocol, config.optimizer), torch.Generator()
    sampler = protocol.sampler(config, [data], draws)
    layouts = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}
    seconds = dict.fromkeys(layouts, 0.0)
    for repetition in range(_ROUNDS + 1):
        for name, layout in layouts.items():
            for parameter in protocol.model.stem.parameters():
                if parameter.dim() == 4:
                    parameter.data = parameter.data.contiguous(memory_format=layout)
            start = time.process_time()
            for _ in range(_STEPS):
                drawn = sampler.sample()
                images = augment(to_float(drawn.images), config.augmentation, draws).contiguous(memory_format=layout)
                optimizer.zero_grad()
                protocol(drawn._replace(images=images)).loss.backward()
                optimizer.step()
            seconds[name] += (time.process_time() - start) if repetition > 0 else 0.0  # the first round warms up
    return {name: _ROUNDS * _STEPS * config.episodes / spent for name, spent in seconds.items()}


def early_stops(folder: Path) -> str:
    """Rows of what several values of `patience` would have done to a run that went to the end of its budget."""
    rows = [row for row in read_metrics(folder) if "val_accuracy" in row]
    best = max(row["val_accuracy"] for row in rows)
    lines = []
    for patience in _PATIENCE:
        end = _stop(rows, patience)
        found = max(row["val_accuracy"] for row in rows[: end + 1])
        lines.append(
            f"| {folder.name} | {patience} | {rows[end]['cpu_minutes']:.1f} of {rows[-1]['cpu_minutes']:.1f} | "
            f"{100 * found:.2f} | {100 * best:.2f} |\n"
        )
    return "".join(lines)


def section(results: list[dict[str, Any]], speeds: dict[str, float], options: Options) -> str:
    """The results as a section of the documentation; its first line names the preset."""
    rows = "".join(
        f"| {row['name']} | {row['steps']} | {row['episodes']:.0f} | {100 * row['train']:.1f} | "
        f"{100 * row['validation']:.1f} | {100 * row['test']:.2f} ± {100 * row['interval']:.2f} |\n"
        for row in results
    )
    layouts = "".join(f"| {name} | {speed:.0f} |\n" for name, speed in speeds.items())
    text = f"## {options.preset}\n"
    if results:
        text += "\n" + fill(
            f"Each run has {options.cpu_minutes:g} minutes of CPU time of one thread and differs from `{options.preset}` in "
            f"one option, on {runs.processors(row['folder'] for row in results)}, seed {options.seed}. Episodes per second "
            "are per second of CPU time, without validation. Training accuracy is of the last steps, on images as training "
            "sees them. Validation has 2,000 episodes of unseen classes. The test has 10,000 episodes and a 95 % interval over "
            "episodes. These are one run each, so differences of half a point mean little.",
            _WIDTH,
        )
        head = "| recipe | steps | episodes/s | training accuracy, % | validation, % | test, % |\n|---|---|---|---|---|---|\n"
        text += f"\n\n{head}{rows}"
    if speeds:
        text += (
            "\nMemory layouts of the stem's images and kernels, in the same training, alternating in one process:\n\n"
            f"| layout | episodes/s |\n|---|---|\n{layouts}"
        )
    if options.long_runs:
        text += (
            "\nEarly stopping (`--patience`), read off the validations of runs that went to the end of their budget: when it\n"
            "would have stopped them, with the best validation accuracy until then and of the whole run.\n\n"
            "| run | patience | CPU minutes | best until then, % | best of the run, % |\n|---|---|---|---|---|\n"
            + "".join(early_stops(folder) for folder in options.long_runs)
        )
    return text


def _stop(rows: list[dict[str, float]], patience: int) -> int:
    """The index of the validation that ends a run: `patience` of them in a row without a new best."""
    best, stale = -1.0, 0
    for index, row in enumerate(rows):
        best, stale = (row["val_accuracy"], 0) if row["val_accuracy"] > best else (best, stale + 1)
        if stale >= patience:
            return index
    return len(rows) - 1


def _is_preset(preset: str, changes: tuple[str, ...]) -> bool:
    """Whether the preset has this kind of auxiliary loss anyway."""
    return changes == ("--auxiliary.kind", PRESETS[preset][1].auxiliary.kind)


if __name__ == "__main__":
    main(tyro.cli(Options))
