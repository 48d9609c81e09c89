"""Command-line flags for the options of the core that the command line names."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from srwm.cli.options import refuse
from srwm.nn import CORES, StackConfig, replace_core


def with_all_options(stack: StackConfig, words: Sequence[str], flag: str) -> StackConfig:
    """The stack with the core that the command line names, and a value for each of its options, so that each becomes a flag.

    Args:
        stack: the stack of the preset.
        words: the words of the command line.
        flag: the flag that names the core.

    Returns:
        The stack.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, dest="core", nargs="?")
    core = parser.parse_known_args(words)[0].core or stack.core
    if core not in CORES:
        return stack
    stack = replace_core(stack, core)
    return replace(stack, core_options=CORES[core].default_options() | stack.core_options)


def check_option_names(stack: StackConfig, words: Sequence[str], flag: str) -> None:
    """Check that the command line names no option that the core does not have.

    Args:
        stack: the stack with the core.
        words: the words of the command line.
        flag: the beginning of the flags of the core's options, with the dot.

    Raises:
        SystemExit: it does; the options there are are printed.
    """
    known = CORES[stack.core].default_options() if stack.core in CORES else {}
    for word in words:
        name = word.removeprefix(flag).partition("=")[0].replace("-", "_")
        if word.startswith(flag) and known.keys().isdisjoint((name, name.removeprefix("no_"))):
            refuse(f"no option {name!r} of core {stack.core!r}; there are {', '.join(known) or 'none'}")


def without_default_options(stack: StackConfig) -> StackConfig:
    """The stack without the options that equal the core's default, as presets are written.

    Args:
        stack: the stack.

    Returns:
        The stack.
    """
    defaults = CORES[stack.core].default_options() if stack.core in CORES else {}
    options = {name: value for name, value in stack.core_options.items() if name not in defaults or value != defaults[name]}
    return replace(stack, core_options=options)
