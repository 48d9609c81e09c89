"""Checks of options that several commands share."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from srwm.errors import UserError


def check_least(least: int, **counts: int | None) -> None:
    """Raise UserError that names the first of these options that is given and below `least`."""
    for name, count in counts.items():
        if count is not None and count < least:
            raise UserError(f"{name}: expected {least} or more, got {count}")


def refuse(message: str) -> NoReturn:
    """End the program for wrong usage, with one line of explanation."""
    print(f"srwm: {message}", file=sys.stderr)
    raise SystemExit(2)


def check_runs(runs: Sequence[Path], command: str) -> None:
    """Refuse a figure of no run."""
    if not runs:
        refuse(f"no run folder given; see {command} --help")


def set_threads(threads: int | None) -> None:
    """Let PyTorch use so many threads; None leaves it its own choice. Raises UserError for fewer than one."""
    check_least(1, threads=threads)
    if threads is not None:
        torch.set_num_threads(threads)
