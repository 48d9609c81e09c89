"""Named configurations of training on sequence tasks."""

from dataclasses import replace

from srwm.nn import CORES as ALL_CORES
from srwm.nn import Option, replace_core
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.config import TaskConfig, TrainConfig


def _preset(name: str, minutes: float, *, min_length: int = 2, max_length: int = 50) -> TrainConfig:
    return TrainConfig(TaskConfig(name, min_length, max_length), cpu_minutes=minutes)


def _words(name: str, minutes: float) -> TrainConfig:
    """Words over a group. With heads of 8 numbers instead of 16 the matrix learns them in less than half the steps."""
    config = _preset(name, minutes, max_length=64)
    return replace(
        config,
        stack=replace(config.stack, num_heads=8),
        batch_size=32,
        optimizer=replace(config.optimizer, lr=3e-3),
    )


PRESETS = {
    "parity": (
        "is the number of 1s so far even? One bit of state, which half of the steps turn over; half a minute of one thread",
        _preset("parity", 0.5),
    ),
    "aa-star": ("is the length so far a multiple of two? A state that every step turns over", _preset("aa-star", 3.0)),
    "abab-star": ("is the length so far a multiple of four? Counting modulo four", _preset("abab-star", 3.0)),
    "anbn": ("which symbols may follow in aa...bb...? Counting up, then down", _preset("anbn", 5.0, max_length=100)),
    "anbncn": (
        "which symbols may follow in aa...bb...cc...? Counting up, then down twice",
        _preset("anbncn", 5.0, max_length=150),
    ),
    "dyck1": ("is a bracket open? A depth that goes up and down", _preset("dyck1", 5.0)),
    "shuffle2": ("which of two kinds of brackets are open? Two depths at once", _preset("shuffle2", 5.0)),
    "reset-dyck": ("is a bracket open since the last reset? A depth that a symbol sets to zero", _preset("reset-dyck", 5.0)),
    "s3": (
        "which order have three things after all reorderings so far? State tracking in a group that is not commutative",
        _words("s3", 10.0),
    ),
    "a5": (
        "the same with the 60 even orders of five things, the hardest case for networks of fixed depth",
        _words("a5", 10.0),
    ),
    "automaton": (
        "new symbols are bound to the elements of a group, then a word of them is read: recall and state tracking at once",
        replace(
            _preset("automaton", 10.0, min_length=4, max_length=32),
            task=TaskConfig("automaton", 4, 32, AutomatonConfig()),
        ),
    ),
}
"""What each preset is for, and its configuration."""

_OPTIONS: dict[str, dict[str, Option]] = {name: {"beta_init": -1.0, "query_init_std": 0.01} for name in ("srwm", "sr_delta")}
"""Options with which a core is trained; other cores have their defaults."""

CORES = {name: (core.__doc__ or "").partition("\n")[0].rstrip(".") for name, core in ALL_CORES.items() if name != "fake_srwm"}
"""Cores that the presets can be trained with, and what they are."""


def with_core(config: TrainConfig, core: str) -> TrainConfig:
    """A preset with another core and the settings for it.

    Args:
        config: the configuration.
        core: a name in `CORES`.

    Returns:
        The configuration.
    """
    if core == config.stack.core:
        return config
    return replace(config, stack=replace(replace_core(config.stack, core), core_options=_OPTIONS.get(core, {})))
