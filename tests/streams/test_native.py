"""Samples by the compiled library beside the model: every size, both feature maps, long streams, and what it refuses."""

import pickle
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from srwm.nn import StackConfig, leaves
from srwm.ops.cpu import library
from srwm.streams import statistics
from srwm.streams.config import ModelConfig, TrainConfig
from srwm.streams.model import StreamModel, StreamState
from srwm.streams.native import NativeModel
from srwm.streams.presets import CORES, with_core
from srwm.streams.prior import PriorConfig, Streams, draw_streams

pytestmark = pytest.mark.skipif(library.LIBRARY is None, reason="the compiled library is not installed")

PRIOR = PriorConfig(max_features=6, max_classes=4, missing=0.5)
ISAS = [] if library.LIBRARY is None else library.LIBRARY.isa_names
SIZES: dict[str, dict[str, Any]] = {
    "default": {"d_model": 96, "num_heads": 4, "num_layers": 3, "ff_factor": 2},
    "narrow heads": {"d_model": 20, "num_heads": 10, "num_layers": 2, "ff_factor": 1},
    "one head": {"d_model": 33, "num_heads": 1, "num_layers": 1, "ff_factor": 3},
    "odd": {"d_model": 51, "num_heads": 3, "num_layers": 2, "ff_factor": 0},
    "one number": {"d_model": 1, "num_heads": 1, "num_layers": 2, "ff_factor": 1},
    "no layers": {"d_model": 16, "num_heads": 2, "num_layers": 0},
    "many classes": {"d_model": 16, "num_heads": 2, "num_layers": 1, "num_classes": 100},
}


@pytest.fixture(params=[*ISAS[:1], *(pytest.param(name, marks=pytest.mark.all_isas) for name in ISAS[1:])])
def isa(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every instruction set that this machine runs, in use during the test."""
    before = library.compiled().selected_isa
    library.compiled().select_isa(request.param)
    yield
    library.compiled().select_isa(before)


def model_of(feature_map: str = "l2", num_features: int = 6, num_classes: int = 4, **sizes: Any) -> StreamModel:
    torch.manual_seed(0)
    stack = StackConfig("deltanet", core_options={"feature_map": feature_map}, **{**SIZES["odd"], **sizes})
    model = StreamModel(ModelConfig(num_features=num_features, num_classes=num_classes, stack=stack))
    with torch.no_grad():  # no normalization at 1 and 0, no rate far from 1/2 alone
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.dim() == 1 else 0.5 / parameter.shape[1] ** 0.5))
    return model


def follow(model: StreamModel, streams: Streams, b: int = 0) -> tuple[torch.Tensor, StreamState]:
    """The native answer to every sample of stream b before it is learned, and the state after the last."""
    native = NativeModel(model)
    state = native.packed(model.initial_state(1))
    answers = []
    for x, present, label in zip(*(part[b].numpy() for part in streams[:3]), strict=True):
        answers.append(native.question(x, present, state))
        state = native.example(x, present, int(label), state)
    return torch.from_numpy(np.stack(answers)), native.unpacked(state)


def check(model: StreamModel, streams: Streams, b: int = 0) -> None:
    with torch.no_grad():
        wanted, end = model(*(part[b : b + 1] for part in streams[:3]))
    found, state = follow(model, streams, b)
    assert_close(found, wanted[0], rtol=1e-4, atol=1e-4)
    for one, other in zip(leaves(tuple(state)), leaves(tuple(end)), strict=True):
        assert one.dtype == other.dtype
        assert_close(one, other, rtol=1e-4, atol=1e-4)
    for one, other in zip(state.statistics, end.statistics, strict=True):
        assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("feature_map", ["l2", "elu"])
@pytest.mark.parametrize("sizes", SIZES)
def test_samples_one_by_one_give_what_the_model_gives(sizes: str, feature_map: str) -> None:
    check(model_of(feature_map, **SIZES[sizes]), draw_streams(PRIOR, 1, 1, 40))


@pytest.mark.usefixtures("isa")
def test_all_slots_of_the_default_sizes() -> None:
    streams = draw_streams(replace(PriorConfig(), missing=0.5), 3, 4, 60)
    model = model_of(num_features=32, num_classes=16, **SIZES["default"])
    for b in range(4):
        check(model, streams, b)


def test_statistics_beyond_their_memory_and_beyond_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MEMORY", 20)
    model = model_of()
    model.config = replace(model.config, max_count=30)
    check(model, draw_streams(PRIOR, 5, 1, 90))


def test_a_state_goes_to_the_model_and_back() -> None:
    model, streams = model_of(), draw_streams(PRIOR, 2, 1, 30)
    native = NativeModel(model)
    x, present, labels = streams[:3]
    with torch.no_grad():
        _, half = model(x[:, :29], present[:, :29], labels[:, :29])
        wanted = model.query(x[:, 29:], present[:, 29:], half)
    packed = native.packed(half)
    found = native.question(x[0, 29].double().numpy(), present[0, 29].numpy(), packed)
    assert_close(torch.from_numpy(found), wanted[0, 0], rtol=1e-4, atol=1e-4)
    for one, other in zip(leaves(tuple(native.unpacked(packed))), leaves(tuple(half)), strict=True):
        assert torch.equal(one, other)


def test_arrays_need_not_be_contiguous() -> None:
    model, (x, present, labels, *_) = model_of(), draw_streams(PRIOR, 2, 1, 3)
    native = NativeModel(model)
    state = native.example(x[0, 0].numpy(), present[0, 0].numpy(), int(labels[0, 0]), native.packed(model.initial_state(1)))
    strided = [part[0, 1].repeat_interleave(2).numpy()[::2] for part in (x, present)]
    assert np.array_equal(native.question(*strided, state), native.question(x[0, 1].numpy(), present[0, 1].numpy(), state))


def test_large_values_lose_no_digits_and_constant_ones_are_zeros() -> None:
    x = torch.randn(1, 40, 6, generator=torch.Generator().manual_seed(0)) + 3e5
    x[..., 1] = 0.1
    streams = draw_streams(PRIOR, 1, 1, 40)
    check(model_of(), streams._replace(x=x, present=torch.ones_like(x, dtype=torch.bool)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_numbers_that_are_none_do_what_they_do_in_the_model(value: float) -> None:
    streams = draw_streams(PRIOR, 1, 1, 12)
    streams.x[0, 6, 0], streams.present[0, 6, 0] = value, True
    streams.x[0, 3, 1], streams.present[0, 3, 1] = float("nan"), False
    model = model_of()
    with torch.no_grad():
        wanted, _ = model(*streams[:3])
    found, _ = follow(model, streams)
    assert_close(found, wanted[0], rtol=1e-4, atol=1e-4, equal_nan=True)
    assert wanted[0, :6].isnan().sum() == 0


def test_a_copy_computes_the_same() -> None:
    model = model_of()
    native = NativeModel(model)
    x, present, state = np.arange(6.0), np.ones(6, np.bool_), native.packed(model.initial_state(1))
    after = native.example(x, present, 2, state)
    for copy in (pickle.loads(pickle.dumps(native)), deepcopy(native)):
        assert copy.example(x, present, 2, state) == after


@pytest.mark.parametrize("core", CORES)
def test_only_questions_of_the_delta_rule_are_supported(core: str) -> None:
    config = with_core(TrainConfig(), core).model
    assert NativeModel.supports(StreamModel(config)) == (core == "deltanet" and config.steps == "query")


def test_other_models_are_refused() -> None:
    config = ModelConfig()
    others = [
        replace(config, steps="interleaved"),
        replace(config, stack=replace(config.stack, residual="none")),
        replace(config, stack=replace(config.stack, carry="never")),
    ]
    models = [StreamModel(other) for other in others] + [StreamModel(config).double()]
    for model in models:
        assert not NativeModel.supports(model)
        with pytest.raises(ValueError, match="model: expected"):
            NativeModel(model)


def test_errors_name_the_argument() -> None:
    model = model_of()
    native = NativeModel(model)
    state = native.packed(model.initial_state(1))
    x, present = np.zeros(6), np.ones(6, np.bool_)
    for argument, call in {
        r"x: expected \(F,\) = \(6,\), got \(5,\)": lambda: native.question(x[:5], present, state),
        r"present: expected \(F,\) = \(6,\) bool, got \(6,\) uint8": lambda: native.question(x, present.view(np.uint8), state),
        r"state: expected": lambda: native.question(x, present, state[:-1]),
        r"label: expected a class from 0 to 3, got 4": lambda: native.example(x, present, 4, state),
        r"label: expected a class from 0 to 3, got -1": lambda: native.example(x, present, -1, state),
        r"state: expected that of one stream": lambda: native.packed(model.initial_state(2)),
        r"state: expected \d+ bytes, a state of this model, got \d+": lambda: native.unpacked(state + b" "),
    }.items():
        with pytest.raises(ValueError, match=argument):
            call()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", None)
    with pytest.raises(RuntimeError, match="needs the compiled library"):
        NativeModel(model_of())
