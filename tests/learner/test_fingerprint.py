"""What fingerprints of models of streams depend on, and what not."""

from dataclasses import dataclass, replace

import pytest
import torch

from srwm.learner import fingerprint
from srwm.learner.fingerprint import stream_fingerprint
from srwm.nn import CORES, StackConfig
from srwm.streams.config import ModelConfig
from srwm.streams.model import StreamModel

INITIAL = {"tied_init", "beta_init", "query_init_std"}
"""Options of cores that change the initial weights alone."""
STACK = StackConfig("deltanet", d_model=16, num_heads=2, num_layers=1, core_options={"feature_map": "l2", "tied_init": True})
CONFIG = ModelConfig(num_features=4, num_classes=3, stack=STACK)


@dataclass(frozen=True)
class LaterConfig(ModelConfig):
    added: int = 0
    """a field that does not exist yet"""


def of(config: ModelConfig, stack: StackConfig | None = None) -> str:
    torch.manual_seed(0)
    model = StreamModel(CONFIG)
    model.config = config if stack is None else replace(config, stack=stack)
    return stream_fingerprint(model)


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, bound_init=1.0),
        replace(CONFIG, stack=replace(STACK, dropout=0.5, backend="reference")),
        replace(CONFIG, stack=replace(STACK, core_options={"feature_map": "l2"})),
        replace(CONFIG, stack=replace(STACK, core_options={"feature_map": "l2", "eps": 0.0})),
        LaterConfig(num_features=4, num_classes=3, stack=STACK),
    ],
)
def test_what_changes_no_answer_changes_no_fingerprint(config: ModelConfig) -> None:
    assert of(config) == of(CONFIG)


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, bound_every=7),
        replace(CONFIG, steps="interleaved"),
        replace(CONFIG, max_count=7),
        replace(CONFIG, stack=replace(STACK, num_heads=4)),
        replace(CONFIG, stack=replace(STACK, residual="none")),
        replace(CONFIG, stack=replace(STACK, core_options={})),
        replace(CONFIG, stack=replace(STACK, core_options={"feature_map": "l2", "eps": 0.5})),
    ],
)
def test_what_changes_answers_changes_the_fingerprint(config: ModelConfig) -> None:
    assert of(config) != of(CONFIG)


def test_every_option_of_a_core_is_digested_or_of_initialization() -> None:
    options = {name for core in CORES.values() for name in core.default_options()}
    assert options == INITIAL | set(fingerprint._OPTIONS) | fingerprint._LATER_OPTIONS.keys()
