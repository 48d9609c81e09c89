"""The prior over streams: what holds for every draw, and that each kind of stream and of drift occurs."""

from dataclasses import replace

import pytest
import torch

from srwm.streams.prior import PriorConfig, draw_streams, in_order_of_appearance
from srwm.streams.prior.draws import Draws
from srwm.streams.prior.drift import draw_schedule
from srwm.streams.prior.features import standardized
from srwm.streams.prior.teachers import _KINDS, Sizes

PRIOR = PriorConfig()
PLAIN = replace(PRIOR, drift=0.0, noisy=0.0, missing=0.0, categories=0.0, correlated=0.0, runs=0.0, delayed=0.0)


def test_equal_seeds_give_equal_streams_whatever_the_defaults() -> None:
    first = draw_streams(PRIOR, 7, 16, 60)
    torch.set_default_dtype(torch.float64)
    try:
        second = draw_streams(PRIOR, 7, 16, 60)
    finally:
        torch.set_default_dtype(torch.float32)
    other = draw_streams(PRIOR, 8, 16, 60)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.x, other.x)


def test_streams_have_the_promised_form() -> None:
    streams = draw_streams(PRIOR, 3, 200, 80)
    assert streams.x.shape == streams.present.shape == (200, 80, 32)
    assert streams.x.dtype == torch.float32
    assert streams.x.isfinite().all()
    assert (streams.x[~streams.present] == 0).all()
    assert streams.labels.min() == 0
    assert streams.labels.max() < 16
    assert torch.equal(streams.labels, in_order_of_appearance(streams.labels))
    assert 0 < (streams.delay > 0).float().mean() < 0.3
    assert streams.delay.max() <= 30
    numbers = streams.present.any(1).sum(1)
    assert numbers.min() <= 3
    assert numbers.max() >= 28


def test_classes_are_numbered_in_order_of_appearance() -> None:
    labels = torch.tensor([[3, 3, 0, 5, 0, 3], [1, 0, 1, 2, 2, 0]])
    assert in_order_of_appearance(labels).tolist() == [[0, 0, 1, 2, 1, 0], [0, 1, 0, 2, 2, 1]]


@pytest.mark.parametrize("rule", [rule for _, rule in _KINDS], ids=lambda rule: rule.__name__.strip("_"))
def test_every_rule_reads_relevant_features_alone_and_gives_several_classes(rule) -> None:
    x = standardized(Draws(0).normal(40, 300, 8))
    sizes = Sizes(torch.full((40,), 6), torch.full((40,), 4), 16)
    relevant = torch.zeros(40, 8, dtype=torch.bool)
    relevant[:, [1, 4]] = True
    scores = rule(Draws(1), x, relevant, sizes)[..., :4]
    changed = x.clone()
    changed[..., [0, 2, 3, 5, 6, 7]] = 0
    assert torch.allclose(scores, rule(Draws(1), changed, relevant, sizes)[..., :4], atol=1e-4)
    classes = scores.argmax(2)
    several = torch.stack([torch.tensor(row.unique().numel()) for row in classes])
    assert (several >= 2).float().mean() > 0.8


def test_without_drift_a_sample_keeps_its_class() -> None:
    streams = draw_streams(replace(PLAIN, generative=0.0), 0, 60, 200)
    x, labels = streams.x, streams.labels
    near = torch.cdist(x, x).add(1e9 * torch.eye(200)).argmin(2)
    agreement = (labels.gather(1, near) == labels).float().mean(1)
    shuffled = (labels.roll(7, 1) == labels).float().mean(1)
    assert (agreement - shuffled).mean() > 0.15


def test_every_kind_of_change_occurs() -> None:
    schedule = draw_schedule(Draws(0), PRIOR, 2000, 200)
    moves = schedule.concept.diff(dim=1).ne(0).sum(1)
    assert 0.5 < schedule.changes.float().mean() < 0.7
    assert (schedule.concept[~schedule.changes] == 0).all()
    assert (schedule.progress[~schedule.changes] == 0).all()
    assert ((moves == 1) & schedule.changes).sum() > 100, "abrupt"
    assert (moves > 10).sum() > 100, "gradual: both concepts alternate for a while"
    assert ((schedule.concept[:, -1] == 0) & (moves > 1)).sum() > 50, "recurring"
    assert ((schedule.progress[:, -1] == 1) & (schedule.progress[:, 0] == 0)).sum() > 50, "incremental"
    assert schedule.progress.diff(dim=1).min() >= 0


def test_a_change_of_concept_changes_the_labels() -> None:
    still = draw_streams(replace(PLAIN, generative=0.0, max_classes=2), 5, 200, 200)
    drifting = draw_streams(replace(PLAIN, generative=0.0, max_classes=2, drift=1.0), 5, 200, 200)
    assert not still.drifts.any()
    assert drifting.drifts.all()


def test_missing_values_and_categories_occur() -> None:
    streams = draw_streams(replace(PLAIN, missing=1.0), 0, 50, 100)
    own = streams.present.any(1, keepdim=True)
    assert (own & ~streams.present).any((1, 2)).float().mean() > 0.8
    coded = draw_streams(replace(PLAIN, categories=1.0, generative=0.0), 0, 100, 100).x
    two_values = torch.tensor([[len(column.unique()) == 2 for column in x.T] for x in coded])
    plain = draw_streams(replace(PLAIN, generative=0.0), 0, 100, 100).x
    assert two_values.sum() > torch.tensor([[len(column.unique()) == 2 for column in x.T] for x in plain]).sum() + 300


def test_classes_come_in_runs() -> None:
    stay = {
        runs: (draw_streams(replace(PLAIN, runs=runs), 2, 100, 200).labels.diff(dim=1) == 0).float().mean()
        for runs in (0.0, 1.0)
    }
    assert stay[1.0] > stay[0.0] + 0.2
