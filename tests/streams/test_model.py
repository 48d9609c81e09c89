"""The model of streams: pieces, queries, delays, what it may not know, and its bound, for every core."""

from dataclasses import replace
from time import process_time
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from srwm.nn import leaves
from srwm.streams.config import ModelConfig, TrainConfig
from srwm.streams.model import StreamModel
from srwm.streams.presets import CORES, with_core
from srwm.streams.prior import PriorConfig, Streams, draw_streams

PRIOR = PriorConfig(max_features=6, max_classes=4, missing=0.5)


def config_of(core: str) -> ModelConfig:
    config = with_core(TrainConfig(), core).model
    stack = replace(config.stack, d_model=16, num_heads=2, num_layers=2)
    return replace(config, num_features=6, num_classes=4, stack=stack, bound_every=7, bound_init=0.5)


def model_of(core: str, **changes: Any) -> StreamModel:
    """A model whose outputs are not the experts' alone, as they are before training."""
    torch.manual_seed(0)
    model = StreamModel(replace(config_of(core), **changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "out.1.weight":
                parameter.normal_(std=0.3)
    return model


@pytest.fixture(params=CORES)
def model(request: pytest.FixtureRequest) -> StreamModel:
    return model_of(request.param)


@pytest.fixture
def streams() -> Streams:
    return draw_streams(PRIOR, 1, 5, 40)


def test_pieces_give_what_the_whole_gives(model: StreamModel, streams: Streams) -> None:
    x, present, labels = streams[:3]
    whole, end = model(x, present, labels)
    state, pieces = None, []
    for piece in (slice(0, 1), slice(1, 15), slice(15, 15), slice(15, 40)):
        logits, state = model(x[:, piece], present[:, piece], labels[:, piece], state)
        pieces.append(logits)
    assert_close(torch.cat(pieces, 1), whole, rtol=1e-4, atol=1e-5)
    for one, other in zip(leaves(tuple(state)), leaves(tuple(end)), strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_query_answers_as_the_next_sample_and_changes_nothing(model: StreamModel, streams: Streams) -> None:
    x, present, labels = streams[:3]
    logits, _ = model(x, present, labels)
    for t in (0, 1, 20):
        _, state = model(x[:, :t], present[:, :t], labels[:, :t])
        before = [part.clone() for part in leaves(tuple(state))]
        answer = model.query(x[:, t : t + 1], present[:, t : t + 1], state)
        assert_close(answer[:, 0], logits[:, t], rtol=1e-4, atol=1e-5)
        assert all(torch.equal(*pair) for pair in zip(before, leaves(tuple(state)), strict=True))


def test_an_answer_depends_on_nothing_that_comes_later(model: StreamModel, streams: Streams) -> None:
    x, present, labels = streams[:3]
    logits, _ = model(x, present, labels)
    later = x.clone()
    later[:, 21:] += 3
    other_labels = labels.clone()
    other_labels[:, 20:] = (labels[:, 20:] + 1) % 4
    changed, _ = model(later, present, other_labels)
    assert torch.equal(changed[:, :21], logits[:, :21])


def test_classes_are_answered_once_they_were_shown(model: StreamModel, streams: Streams) -> None:
    x, present, labels = streams[:3]
    logits, state = model(x, present, labels)
    assert (logits[:, 0] == 0).all()
    for b in range(5):
        for t in range(1, 40):
            shown = set(labels[b, :t].tolist())
            assert {c for c in range(4) if logits[b, t, c] > -torch.inf} == shown
    assert state.seen.sum(1).tolist() == [len(set(row.tolist())) for row in labels]


def test_a_delayed_example_is_learned_later(model: StreamModel, streams: Streams) -> None:
    x, present, labels = streams[:3]
    delay = torch.tensor([0, 3, 0, 39, 1])
    logits, state = model(x, present, labels, delay=delay)
    at_once, _ = model(x, present, labels)
    assert_close(logits[[0, 2]], at_once[[0, 2]], rtol=1e-4, atol=1e-5)
    assert (logits[1, :4] == 0).all()
    assert (logits[3] == 0).all()
    assert state.number.tolist() == [40, 37, 40, 1, 39]
    changed = labels.clone()
    changed[1, 10] = (labels[1, 10] + 1) % 4
    later, _ = model(x, present, changed, delay=delay)
    assert_close(later[1, :14], logits[1, :14], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(later[1, 14:], logits[1, 14:])


def test_unlabeled_samples_are_not_counted_and_only_interleaved_models_write_their_questions(
    model: StreamModel, streams: Streams
) -> None:
    x, present, labels = streams[:3]
    hidden = labels.clone()
    hidden[:, 10:20] = -1
    logits, state = model(x, present, hidden)
    assert (state.number == 30).all()
    without = torch.cat([torch.arange(10), torch.arange(20, 40)])
    expected, _ = model(x[:, without], present[:, without], labels[:, without])
    if model.config.steps == "query":
        assert_close(logits[:, without], expected, rtol=1e-4, atol=1e-5)
    else:
        assert_close(logits[:, :10], expected[:, :10], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(logits[:, 20:], expected[:, 10:], atol=1e-4)


def test_a_new_model_answers_as_its_experts_do(streams: Streams) -> None:
    x, present, labels = streams[:3]
    model = StreamModel(config_of("deltanet"))
    logits, _ = model(x, present, labels)
    other = StreamModel(config_of("lstm"))
    assert_close(other(x, present, labels)[0], logits)
    alone, _ = StreamModel(replace(config_of("deltanet"), experts=False))(x, present, labels)
    right = [((part.argmax(2) == labels)[:, 10:]).float().mean().item() for part in (logits, alone)]
    assert right[0] > right[1] + 0.1


def test_without_experts_a_model_has_no_state_of_them(streams: Streams) -> None:
    model = model_of("deltanet", experts=False)
    _, state = model(*streams[:3])
    assert state.experts == ()
    assert model.features[0].in_features == 2 * 6 + 1


@pytest.mark.parametrize(
    "core",
    [
        *("srwm", "sr_delta", "deltanet", "gated_deltanet"),
        pytest.param("self_modifying_memory", marks=pytest.mark.slow),
    ],
)
def test_the_memory_is_bounded(core: str) -> None:
    model = model_of(core)
    streams = draw_streams(PRIOR, 2, 3, 700)
    logits, state = model(*streams[:3])
    for part in state.memory:
        matrices = part[0] if isinstance(part, tuple) else part
        assert torch.linalg.vector_norm(matrices, dim=(2, 3)).max() <= 0.5 + 1e-5
    logits[logits.isfinite()].square().sum().backward()
    assert all(norms.grad.abs().sum() > 0 for norms in model.bound.log_norms)


@pytest.mark.slow
@torch.no_grad()
def test_neither_state_nor_time_grow_along_20_000_samples(model: StreamModel) -> None:
    generator = torch.Generator().manual_seed(0)
    state, norms, seconds, sizes = model.initial_state(1), [], [], []
    for _ in range(20):
        x = torch.randn(1, 1000, 6, generator=generator)
        began = process_time()
        logits, state = model(x, torch.ones_like(x, dtype=torch.bool), (x[..., 0] > 0).long(), state)
        seconds.append(process_time() - began)
        parts = leaves(state.memory)
        norms.append(max(torch.linalg.vector_norm(part).item() for part in parts))
        sizes.append(sum(part.nbytes for part in leaves(tuple(state))))
        assert logits[..., :2].isfinite().all() or len(norms) == 1
    assert len(set(sizes)) == 1
    assert max(norms[10:]) < 1.5 * max(norms[2:6])
    assert sorted(seconds[15:])[2] < 2 * sorted(seconds[3:8])[2]


def test_a_state_that_would_reach_beyond_memory_is_refused() -> None:
    model = StreamModel(config_of("deltanet"))
    state = model.initial_state(2)
    model.check_state(state)
    with pytest.raises(ValueError, match="number: expected 0 or more, got -1"):
        model.check_state(state._replace(number=state.number - 1))
    assert state.experts
    for wrong, got in ((4, "4 to 4"), (-1, "-1 to -1")):
        experts = state.experts._replace(labels=torch.full_like(state.experts.labels, wrong))
        with pytest.raises(ValueError, match=f"labels: expected classes below 4, got {got}"):
            model.check_state(state._replace(experts=experts))


def test_bad_input_is_an_error(streams: Streams) -> None:
    model = StreamModel(config_of("deltanet"))
    x, present, labels = streams[:3]
    with pytest.raises(ValueError, match=r"x: expected \(B, T, 6\) floating"):
        model(x[..., :5], present, labels)
    with pytest.raises(ValueError, match="present"):
        model(x, present[:, :3], labels)
    with pytest.raises(ValueError, match=r"present: expected dtype torch\.bool"):
        model(x, present.float(), labels)
    with pytest.raises(ValueError, match="labels: expected classes below 4, got 4"):
        model(x, present, labels.masked_fill(labels == 1, 4))
    with pytest.raises(ValueError, match=r"labels: expected dtype torch\.int64"):
        model(x, present, labels.int())
