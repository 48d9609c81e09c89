"""The prior over streams: what holds for every draw, and that each kind of stream and of drift occurs."""

from dataclasses import replace

import pytest
import torch

from srwm.data.draws import Draws
from srwm.streams.prior import PriorConfig, draw_streams, in_order_of_appearance
from srwm.streams.prior.drift import Schedule, draw_schedule
from srwm.streams.prior.features import standardized
from srwm.streams.prior.generative import draw_clusters
from srwm.streams.prior.sample import _by_rule, _moved, _permutation, _with_shares
from srwm.streams.prior.teachers import _KINDS, Sizes, draw_scores

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
    assert (several >= 2).float().mean() > 0.9


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


def schedule_of(concept: torch.Tensor, progress: torch.Tensor) -> Schedule:
    return Schedule(concept, progress, (concept.any(1) | progress.any(1)))


@pytest.mark.parametrize("drawn", ["rule", "clusters"])
def test_a_change_of_concept_changes_samples_or_labels(drawn: str) -> None:
    x = standardized(Draws(0).normal(200, 300, 6))
    sizes = Sizes(torch.full((200,), 6), torch.full((200,), 3), 16)
    zeros = torch.zeros(200, 300)
    draw = _by_rule if drawn == "rule" else lambda draws, *rest: draw_clusters(draws, *rest)
    still = draw(Draws(1), x, sizes, schedule_of(zeros.long(), zeros))
    changed = draw(Draws(1), x, sizes, schedule_of(torch.ones_like(zeros).long(), zeros))
    differs = (still[1] != changed[1]).float().mean(1) + (still[0] != changed[0]).any(2).float().mean(1)
    assert (differs > 0.05).float().mean() > 0.97


def test_an_incremental_change_is_spread_over_time() -> None:
    x = standardized(Draws(0).normal(100, 1, 4)).expand(-1, 400, -1) * 0 + Draws(3).normal(100, 1, 4)
    moving = _moved(
        Draws(1), x, Sizes(torch.full((100,), 4), torch.full((100,), 2), 16), torch.linspace(0, 1, 400).expand(100, -1)
    )
    steps = moving.diff(dim=1).norm(dim=2)
    assert (steps > 0).all()
    assert (steps.max(1).values / steps.mean(1)).max() < 3


def test_permutations_leave_no_place_as_it_was() -> None:
    features = torch.arange(2, 9).repeat(20)
    permutation = _permutation(Draws(0), Sizes(features, features, 16), 10)
    own = torch.arange(10) < features[:, None]
    assert (permutation.sort(1).values == torch.arange(10)).all()
    assert ((permutation != torch.arange(10)) == own).all()


def test_shares_of_classes_change_with_the_concept() -> None:
    labels = Draws(0).integers(100, 600, high=3)
    x = labels[..., None].float().expand(-1, -1, 2)
    concept = torch.cat([torch.zeros(100, 300), torch.ones(100, 300)], 1).long()
    moved, reordered = _with_shares(Draws(1), x, labels, concept, 3)
    assert torch.equal(moved[..., 0].long(), reordered)
    assert torch.equal(reordered.sort(1).values, labels.sort(1).values)
    shares = [torch.nn.functional.one_hot(half, 3).float().mean(1) for half in reordered.chunk(2, 1)]
    assert (shares[0] - shares[1]).abs().max(1).values.mean() > 0.2


def test_few_streams_have_a_single_class() -> None:
    labels = draw_streams(replace(PLAIN, max_features=8), 0, 1000, 200).labels
    assert (labels.max(1).values == 0).float().mean() < 0.03


def test_most_of_many_classes_appear() -> None:
    x = standardized(Draws(0).normal(300, 1000, 8))
    sizes = Sizes(torch.full((300,), 8), torch.full((300,), 12), 16)
    classes = draw_scores(Draws(1), x, sizes).argmax(2)
    numbers = torch.stack([torch.tensor(row.unique().numel()) for row in classes])
    assert numbers.max() == 12
    assert numbers.float().mean() > 7


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
