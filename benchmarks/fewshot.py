"""What each part of the training recipe is worth: runs of equal time that differ from the preset in one thing.

    python benchmarks/fewshot.py --data-dir DATA --runs FOLDER --markdown docs/fewshot-recipe.md

Runs are those of `srwm fewshot train`, one thread each, `--jobs` of them side by side; a run that has ended is not repeated.
"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import machine
from srwm.training.runs import read_metrics, write_json

PRESET = "cpu-omniglot-1shot"
VARIANTS: dict[str, tuple[str, ...]] = {
    "the preset": (),
    "no loss of neighbours": ("--auxiliary.kind", "none"),
    "classes instead of neighbours": ("--auxiliary.kind", "classes"),
    "images of its own for every episode": ("--sampler", "per-episode", "--episodes", "32"),
    "one query per episode": ("--queries", "1"),
    "the paper's input": ("--model.input", "paper"),
    "float32": ("--precision", "float32"),
    "no distortions": ("--no-distort",),
    "constant learning rate": ("--schedule", "constant"),
    "no average of the weights": ("--average-decay", "None"),
    "no weight decay": ("--optimizer.weight-decay", "0"),
}


@dataclass(frozen=True)
class Options:
    """Compare training recipes at equal time."""

    runs: Path
    """folder for the run folders"""
    data_dir: Path | None = None
    """folder of the data set"""
    minutes: float = 5
    """minutes of one thread per run"""
    jobs: int = 2
    """runs side by side"""
    seed: int = 0
    """seed of every run"""
    markdown: Path | None = None
    """where the table goes, besides the terminal"""


def main(options: Options) -> None:
    """Run what has not been run yet, then print the table."""
    options.runs.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda name: result(name, options), VARIANTS))
    text = table(results, options)
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text)


def result(name: str, options: Options) -> dict[str, Any]:
    """Train one variant, unless it is there already, and read what came of it."""
    folder = options.runs / name.replace(" ", "-").replace("'", "")
    if not (folder / "test.json").exists():
        command = [sys.executable, "-m", "srwm", "fewshot", "train", PRESET, "--run", str(folder), "--threads", "1"]
        command += ["--minutes", str(options.minutes), "--seed", str(options.seed), "--validate-every", "100000"]
        command += [] if options.data_dir is None else ["--data-dir", str(options.data_dir)]
        command += ["--resume"] if folder.exists() else []
        subprocess.run([*command, *VARIANTS[name]], check=True, stdout=subprocess.DEVNULL)
        write_json(folder / "machine.json", {"cpu": machine.cpu_model()})
    config = json.loads((folder / "config.json").read_text())
    test, last = json.loads((folder / "test.json").read_text()), read_metrics(folder)[-1]
    return {
        "name": name,
        "steps": int(last["step"]),
        "episodes": last["step"] * config["episodes"] / (60 * last["minutes"]),
        "train": last["train_accuracy"],
        "test": test["mean"],
        "interval": test["interval"],
    }


def table(results: list[dict[str, Any]], options: Options) -> str:
    """The results as a page of the documentation."""
    rows = "\n".join(
        f"| {row['name']} | {row['steps']} | {row['episodes']:.0f} | {100 * row['train']:.1f} | "
        f"{100 * row['test']:.2f} ± {100 * row['interval']:.2f} |"
        for row in results
    )
    return (
        "# What each part of the recipe is worth\n\n"
        f"Runs of {options.minutes:g} minutes of one thread that differ from `{PRESET}` in one thing, {options.jobs} side by "
        f"side on {machine.cpu_model()}, seed {options.seed}. Test: 5-way 1-shot Omniglot, 10,000 episodes, 95 % interval over "
        "episodes; one run each, so differences of half a point mean little.\n\n"
        "    python benchmarks/fewshot.py --runs runs/recipe --markdown docs/fewshot-recipe.md\n\n"
        f"| recipe | steps | episodes/s | training accuracy, % | test accuracy, % |\n|---|---|---|---|---|\n{rows}\n"
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
