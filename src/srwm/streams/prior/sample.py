"""Random streams: a prior over online classification tasks with drift."""

from typing import NamedTuple

import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to
from srwm.streams.prior.config import PriorConfig
from srwm.streams.prior.drift import CONCEPTS, Schedule, draw_schedule
from srwm.streams.prior.features import change_marginals, draw_base
from srwm.streams.prior.generative import draw_clusters
from srwm.streams.prior.teachers import Sizes, draw_scores


class Streams(NamedTuple):
    """A batch of streams."""

    x: Tensor
    """features (B, T, F), 0 where there is none"""
    present: Tensor
    """whether there is a value (B, T, F) bool"""
    labels: Tensor
    """classes (B, T), numbered in the order in which they appear in the stream"""
    delay: Tensor
    """number of samples after which a label is shown (B,)"""
    drifts: Tensor
    """whether the stream has a change of concept within its length (B,)"""


def draw_streams(config: PriorConfig, seed: int, batch: int, length: int) -> Streams:
    """Draw random streams.

    Args:
        config: the prior.
        seed: equal seeds give equal streams.
        batch: number of streams B.
        length: number of samples T, 2 or more.

    Returns:
        The streams, on the CPU.
    """
    draws = Draws(seed)
    sizes = _draw_sizes(draws, config, batch)
    schedule = draw_schedule(draws, config, batch, length)
    base = draw_base(draws, config, batch, length, config.max_features)
    by_class = draws.happens(config.generative, batch)
    labels = torch.zeros(batch, length, dtype=torch.long, device="cpu")
    if by_class.any():
        part = Schedule(*(value[by_class] for value in schedule))
        base[by_class], labels[by_class] = draw_clusters(draws, base[by_class], sizes.of(by_class), part)
    x = change_marginals(draws, config, base)
    by_rule = ~by_class
    if by_rule.any():
        part = Schedule(*(value[by_rule] for value in schedule))
        x[by_rule], labels[by_rule] = _by_rule(draws, x[by_rule], sizes.of(by_rule), part)
    labels = _with_permuted_classes(draws, labels, sizes, schedule)
    labels = _with_noise(draws, config, labels, sizes)
    x = _with_shifts(draws, x, schedule)
    x, labels = _in_runs(draws, config, x, labels, schedule)
    present = _draw_present(draws, config, sizes, length)
    delay = torch.where(draws.happens(config.delayed, batch), draws.integers(batch, low=1, high=config.max_delay + 1), 0)
    return Streams(x.masked_fill(~present, 0), present, in_order_of_appearance(labels), delay, schedule.changes)


def in_order_of_appearance(labels: Tensor) -> Tensor:
    """Number classes in the order of their first samples.

    Args:
        labels: (B, T), from 0.

    Returns:
        (B, T); the first label is 0, the next different one is 1, and so on.
    """
    batch, length = labels.shape
    classes = int(labels.max()) + 1
    first = torch.full_like(labels[:, :1], length).repeat(1, classes)
    first = first.scatter_reduce(1, labels, count_to(length).expand(batch, -1), "amin")
    return first.argsort(dim=1, stable=True).argsort(1).gather(1, labels)


def _draw_sizes(draws: Draws, config: PriorConfig, batch: int) -> Sizes:
    features = draws.log_uniform(batch, low=2, high=config.max_features + 1).long().clamp(max=config.max_features)
    many = draws.log_uniform(batch, low=2, high=config.max_classes + 1).long().clamp(max=config.max_classes)
    classes = torch.where(draws.happens(config.binary, batch), 2, many)
    return Sizes(features, classes, config.max_classes)


def _by_rule(draws: Draws, x: Tensor, sizes: Sizes, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """Samples with classes by random rules.

    An incremental change moves what the rule reads. With a new concept the rule is a new one, or reads other features, or stays
    while the shares of the classes change.
    """
    batch, length, width = x.shape
    start = draws.generator.get_state()
    scores = [draw_scores(draws, _moved(draws, x, sizes, schedule.progress), sizes)]
    other = x.gather(2, _permutation(draws, sizes, width)[:, None].expand_as(x))
    end = draws.generator.get_state()
    draws.generator.set_state(start)  # the same rules
    on_others = draw_scores(draws, _moved(draws, other, sizes, schedule.progress), sizes)
    draws.generator.set_state(end)
    kind = draws.choice([0.65, 0.2, 0.15], batch)
    for _ in range(1, CONCEPTS):
        new = torch.where((kind == 0)[:, None, None], draw_scores(draws, x, sizes), scores[0])
        scores.append(torch.where((kind == 1)[:, None, None], on_others if len(scores) == 1 else scores[0], new))
    softness = draws.uniform(batch, 1, 1, high=0.5) * draws.happens(0.3, batch, 1, 1)
    noise = softness * _gumbel(draws, batch, length, sizes.max_classes)
    rows, time = count_to(batch)[:, None], count_to(length)
    labels = (torch.stack(scores)[schedule.concept, rows, time] + noise).argmax(2)
    some = (kind == 2) & schedule.concept.any(1)
    if some.any():
        x = x.clone()
        x[some], labels[some] = _with_shares(draws, x[some], labels[some], schedule.concept[some], sizes.max_classes)
    return x, labels


def _moved(draws: Draws, x: Tensor, sizes: Sizes, progress: Tensor) -> Tensor:
    """Features that turn and shift with the progress of an incremental change: (B, T, F)."""
    batch, _, width = x.shape
    partner = x.gather(2, _permutation(draws, sizes, width)[:, None].expand_as(x))
    angle = draws.uniform(batch, 1, 1, low=0.5, high=3.0) * progress[..., None]
    return angle.cos() * x + angle.sin() * partner + progress[..., None] * draws.normal(batch, 1, width)


def _permutation(draws: Draws, sizes: Sizes, width: int) -> Tensor:
    """Each of a stream's own features gets another one's place; unused ones keep theirs: (B, F)."""
    number = sizes.features[:, None]
    order = _own_first(draws, number, width)
    return _rotated(order, number, 1 + draws.below(number - 1))


def _own_first(draws: Draws, number: Tensor, width: int) -> Tensor:
    """The first `number` (B, 1) of `width` places in random order, then all others: (B, width)."""
    return draws.uniform(len(number), width).masked_fill(count_to(width) >= number, 2.0).argsort(1)


def _rotated(order: Tensor, number: Tensor, shift: Tensor) -> Tensor:
    """The permutation that gives each of the first places in an order the place `shift` (B, 1) later: (B, width)."""
    places = count_to(order.shape[1])
    turned = order.gather(1, (places + shift) % number)
    return places.expand(len(order), -1).scatter(1, order, torch.where(places < number, turned, order))


def _with_shares(draws: Draws, x: Tensor, labels: Tensor, concept: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Samples in another order, in which some classes are more frequent under one concept than under another."""
    batch, length = labels.shape
    weights = (2 * draws.normal(CONCEPTS, batch, classes)).exp()
    rows = count_to(batch)[:, None]
    density = weights[concept, rows].cumsum(1)  # (B, T, classes)
    when = draws.uniform(batch, length) * density[:, -1].gather(1, labels)
    place = torch.searchsorted(density.transpose(1, 2).contiguous()[rows, labels], when[..., None])[..., 0]
    order = (place + draws.uniform(batch, length)).argsort(1)
    return x.gather(1, order[..., None].expand_as(x)), labels.gather(1, order)


def _gumbel(draws: Draws, *shape: int) -> Tensor:
    return -(-draws.uniform(*shape, low=1e-9).log()).log()


def _with_permuted_classes(draws: Draws, labels: Tensor, sizes: Sizes, schedule: Schedule) -> Tensor:
    """In some streams every class gets another name with a new concept."""
    batch, classes = len(labels), sizes.classes[:, None]
    order = _own_first(draws, classes, sizes.max_classes)
    names = [count_to(sizes.max_classes).expand(batch, -1)]
    renamed = draws.happens(0.2, batch, 1)
    for _ in range(1, CONCEPTS):
        new = _rotated(order, classes, 1 + draws.below(classes - 1))
        names.append(torch.where(renamed, new, names[0]))
    return torch.stack(names)[schedule.concept, count_to(batch)[:, None], labels]


def _with_noise(draws: Draws, config: PriorConfig, labels: Tensor, sizes: Sizes) -> Tensor:
    batch, length = labels.shape
    share = draws.uniform(batch, 1, high=config.max_noise) * draws.happens(config.noisy, batch, 1)
    other = draws.below(sizes.classes[:, None].expand(-1, length))
    return torch.where(draws.happens(share, batch, length), other, labels)


def _with_shifts(draws: Draws, x: Tensor, schedule: Schedule) -> Tensor:
    """In some streams with drift, features move when the concept changes, though their meaning stays."""
    batch, _, width = x.shape
    rows = draws.happens(0.2, batch, 1) & schedule.changes[:, None]
    shift = draws.normal(CONCEPTS, batch, width) * (rows & draws.happens(0.4, batch, width))
    return x + shift[schedule.concept, count_to(batch)[:, None]]


def _in_runs(draws: Draws, config: PriorConfig, x: Tensor, labels: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """In some streams, samples within short blocks are sorted by class."""
    batch, length = labels.shape
    rows = draws.happens(config.runs, batch)
    block = count_to(length) // draws.integers(batch, 1, low=5, high=60)
    classes = int(labels.max()) + 1
    rank = draws.uniform(batch, classes).argsort(1).gather(1, labels)
    order = torch.where(rows[:, None], block * classes + rank, count_to(length)).argsort(dim=1, stable=True)
    return x.gather(1, order[..., None].expand_as(x)), labels.gather(1, order)


def _draw_present(draws: Draws, config: PriorConfig, sizes: Sizes, length: int) -> Tensor:
    """Values of the stream's own features, some of which are missing; some features appear late."""
    batch, width = len(sizes.features), config.max_features
    own = (count_to(width) < sizes.features[:, None])[:, None]
    rows = draws.happens(config.missing, batch, 1, 1)
    rate = draws.uniform(batch, 1, width, high=0.6) * draws.uniform(batch, 1, 1) * rows
    start = draws.uniform(batch, 1, width, high=0.7) * length * draws.happens(0.15, batch, 1, width) * rows
    start[..., 0] = 0
    return own & ~draws.happens(rate, batch, length, width) & (count_to(length)[:, None] >= start)
