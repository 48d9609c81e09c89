"""Named configurations of training on random streams."""

from dataclasses import replace
from typing import Literal

from srwm.nn import Option, build_core
from srwm.streams.config import TrainConfig

PRESETS = {
    "quick-streams": ("a learner of streams in ten minutes of one thread", TrainConfig(cpu_minutes=10.0, validate_every=250)),
    "streams": ("the packaged learner of streams: six hours of two threads", TrainConfig(cpu_minutes=720.0)),
}
"""Description and configuration of each preset."""

CORES = {
    "deltanet": "fast weights by the delta rule",
    "srwm": "self-referential weight matrix",
    "sr_delta": "self-referential matrix that programs fast weights",
    "gated_deltanet": "fast weights by the delta rule, with a decay",
    "deltaproduct": "fast weights by two writes of the delta rule a step",
    "self_modifying_memory": "memories that generate their own keys, values, rates and decays",
    "transformer": "softmax attention to the last steps, without positions",
    "lstm": "LSTM",
    "gru": "GRU",
}
"""Cores that the presets can be trained with, and what they are."""


def with_core(config: TrainConfig, core: str) -> TrainConfig:
    """A preset with another core and the settings for it.

    Args:
        config: the configuration.
        core: a name in `CORES`.

    Returns:
        The configuration. Questions are steps of their own where the core does not evaluate queries in parallel.
    """
    if core == config.model.stack.core:
        return config
    options: dict[str, Option] = {"query_init_std": 0.01, "beta_init": -1.0} if core in ("srwm", "sr_delta") else {}
    stack = replace(config.model.stack, core=core, core_options=options)
    steps: Literal["query", "interleaved"] = "query" if build_core(stack).queries_in_parallel else "interleaved"
    return replace(config, model=replace(config.model, stack=stack, steps=steps))
