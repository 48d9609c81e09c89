"""Runs of the program, made once each: what has ended is not repeated, what was cut off goes on."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import machine
from srwm.training.runs import write_json

_MACHINE = "machine.json"
Item = TypeVar("Item")


def make(folder: Path, train: Sequence[str], *more: Sequence[str]) -> None:
    """Call `srwm` for a run folder, unless that has been done: to train, on one thread, and for what comes after."""
    if (folder / _MACHINE).exists():
        return
    resume = ["--resume"] if folder.exists() else []
    for command in ([*train, "--run", str(folder), *resume], *more):
        subprocess.run([sys.executable, "-m", "srwm", *command, "--threads", "1"], check=True, stdout=subprocess.DEVNULL)
    write_json(folder / _MACHINE, {"cpu": machine.cpu_model()})


def side_by_side(jobs: int, make_one: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Make several, `jobs` at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(make_one, items))


def processors(folders: Iterable[Path]) -> str:
    """Of the machines that the runs were made on."""
    return " and ".join(sorted({json.loads((folder / _MACHINE).read_text())["cpu"] for folder in folders}))
