"""Checks of options that all commands share."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from srwm.errors import UserError


def check_least(least: int, **counts: int | None) -> None:
    """Check that options are not too small.

    Args:
        least: the smallest allowed value.
        **counts: the options by name; None passes.

    Raises:
        UserError: an option is below `least`; the message names the first.
    """
    for name, count in counts.items():
        if count is not None and count < least:
            raise UserError(f"{name}: expected {least} or more, got {count}")


def refuse(message: str) -> NoReturn:
    """Exit with status 2 for wrong usage.

    Args:
        message: one line of explanation.

    Raises:
        SystemExit: always.
    """
    print(f"srwm: {message}", file=sys.stderr)
    raise SystemExit(2)


def check_runs(runs: Sequence[Path], command: str) -> None:
    """Check that a figure is of at least one run.

    Args:
        runs: the run folders.
        command: the command, for the message.

    Raises:
        SystemExit: there is none.
    """
    if not runs:
        refuse(f"no run folder given; see {command} --help")


def set_threads(threads: int | None) -> None:
    """Set the number of PyTorch threads.

    Args:
        threads: the number; None keeps PyTorch's default.

    Raises:
        UserError: it is below 1.
    """
    check_least(1, threads=threads)
    if threads is not None:
        torch.set_num_threads(threads)
