"""Options of commands: reading, checks, help."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch
import tyro
from tyro.constructors import MISSING_NONPROP, ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from srwm.ranges import ranges_of
from srwm.training.configuration import check_values

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def parse(kind: type[T], prog: str, words: Sequence[str], default: T | None = None) -> T:
    """Read the options of a command. `--help` shows the range of each number behind its description.

    Args:
        kind: the dataclass of the options.
        prog: the command, for the help text.
        words: the words of the command line after the command.
        default: values of options that are not given; None: those of the dataclass.

    Returns:
        The options. Those of nested configurations are not checked.

    Raises:
        UserError: a number is out of its range.
        SystemExit: wrong usage, or help was printed.
    """
    preset = MISSING_NONPROP if default is None else default
    with _ranges_in_help():
        options: T = tyro.cli(kind, prog=prog, args=list(words), default=preset, config=(tyro.conf.AvoidSubcommands,))
    check_values(options, nested=False)
    return options


def refuse(message: str) -> NoReturn:
    """Exit with status 2 for wrong usage.

    Args:
        message: one line of explanation.

    Raises:
        SystemExit: always.
    """
    print(f"srwm: {message}", file=sys.stderr)
    raise SystemExit(2)


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Check that there is a preset or a core of a name.

    Args:
        kind: what it is, for the message.
        name: the name.
        known: the names that there are.

    Raises:
        SystemExit: it is not among them.
    """
    if name not in (names := list(known)):
        refuse(f"no {kind} {name!r}; there are {', '.join(names)}")


def split_core(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of `--core` among the words of a command line.

    Args:
        arguments: the words.

    Returns:
        The value, empty where it is missing, None without the option; and the other words.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--core", nargs="?", const="")
    chosen, words = parser.parse_known_args(arguments)
    return chosen.core, words


def end_stopped(run: Path) -> NoReturn:
    """Exit after a training that Ctrl-C or SIGTERM stopped.

    Args:
        run: its run folder.

    Raises:
        SystemExit: always, with status 130.
    """
    print(f"srwm: stopped; the same command with --resume continues from the checkpoint in {run}", file=sys.stderr)
    raise SystemExit(130)


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
    """
    if threads is not None:
        torch.set_num_threads(threads)


def _ranges_in_help() -> ConstructorRegistry:
    """A rule for dataclasses that takes what tyro's own rule gives and adds ranges."""
    registry, asked = ConstructorRegistry(), set[int]()

    @registry.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not is_dataclass(info.type) or id(info) in asked:
            return None
        asked.add(id(info))
        found = ConstructorRegistry.get_struct_spec(info)
        asked.remove(id(info))
        if not isinstance(found, StructConstructorSpec):
            return None
        return replace(found, fields=tuple(replace(each, helptext=_help(each)) for each in found.fields))

    return registry


def _help(field: StructFieldSpec) -> str | None:
    """The description of a field and the ranges in its type hint."""
    about = field.helptext() if callable(field.helptext) else field.helptext
    ranges = " and ".join(map(str, ranges_of(field.type)))
    return f"{about or ''} ({ranges})".strip() if ranges else about
