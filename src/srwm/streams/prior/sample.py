"""Random streams: a prior over online classification tasks with drift."""

from typing import NamedTuple

import torch
from torch import Tensor

from srwm.streams.prior.config import PriorConfig
from srwm.streams.prior.draws import Draws
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
    """whether the concept changes within the stream (B,)"""


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
    with torch.device("cpu"):
        return _draw(config, Draws(seed), batch, length)


def in_order_of_appearance(labels: Tensor) -> Tensor:
    """Number classes in the order of their first samples.

    Args:
        labels: (B, T), from 0.

    Returns:
        (B, T); the first label is 0, the next different one is 1, and so on.
    """
    batch, length = labels.shape
    classes = int(labels.max()) + 1
    first = torch.full((batch, classes), length)
    first = first.scatter_reduce(1, labels, torch.arange(length).expand(batch, -1), "amin")
    return first.argsort(dim=1, stable=True).argsort(1).gather(1, labels)


def _draw(config: PriorConfig, draws: Draws, batch: int, length: int) -> Streams:
    sizes = _draw_sizes(draws, config, batch)
    schedule = draw_schedule(draws, config, batch, length)
    base = draw_base(draws, config, batch, length, config.max_features)
    by_class = draws.happens(config.generative, batch)
    labels = torch.zeros(batch, length, dtype=torch.long)
    if by_class.any():
        part = Schedule(*(value[by_class] for value in schedule))
        base[by_class], labels[by_class] = draw_clusters(draws, base[by_class], sizes.of(by_class), part)
    x = change_marginals(draws, config, base)
    by_rule = ~by_class
    if by_rule.any():
        part = Schedule(*(value[by_rule] for value in schedule))
        labels[by_rule] = _classes_by_rule(draws, x[by_rule], sizes.of(by_rule), part)
    labels = _with_permuted_classes(draws, labels, sizes, schedule)
    labels = _with_noise(draws, config, labels, sizes)
    x = _with_shifts(draws, x, schedule)
    x, labels = _in_runs(draws, config, x, labels, schedule)
    present = _draw_present(draws, config, sizes, length)
    delay = torch.where(draws.happens(config.delayed, batch), draws.integers(batch, low=1, high=config.max_delay + 1), 0)
    return Streams(x.masked_fill(~present, 0), present, in_order_of_appearance(labels), delay, schedule.changes)


def _draw_sizes(draws: Draws, config: PriorConfig, batch: int) -> Sizes:
    features = draws.log_uniform(batch, low=2, high=config.max_features + 1).long().clamp(max=config.max_features)
    many = draws.log_uniform(batch, low=2, high=config.max_classes + 1).long().clamp(max=config.max_classes)
    classes = torch.where(draws.happens(config.binary, batch), 2, many)
    return Sizes(features, classes, config.max_classes)


def _classes_by_rule(draws: Draws, x: Tensor, sizes: Sizes, schedule: Schedule) -> Tensor:
    """Classes by random rules; a new concept is a new rule, the same rule on other features, or other class shares."""
    batch, length, _ = x.shape
    scores = draw_scores(draws, x, sizes).unsqueeze(0).repeat(CONCEPTS, 1, 1, 1)
    changed = schedule.changes.nonzero()[:, 0]
    if len(changed):
        some, kind = sizes.of(changed), draws.choice([0.7, 0.15, 0.15], len(changed), 1, 1)
        for concept in range(1, CONCEPTS):
            new = draw_scores(draws, x[changed], some)
            balance = scores[0, changed] + draws.normal(len(changed), 1, new.shape[2])
            scores[concept, changed] = torch.where(kind == 2, balance, new)
    softness = draws.uniform(batch, 1, 1, high=0.5) * draws.happens(0.3, batch, 1, 1)
    scores = scores + softness * _gumbel(draws, batch, length, scores.shape[3])
    rows, time = torch.arange(batch)[:, None], torch.arange(length)
    progress = schedule.progress[..., None]
    now = scores[schedule.concept, rows, time]
    mixed = ((1 - progress) * now.clamp(min=-1e9) + progress * scores[1].clamp(min=-1e9)).argmax(2)
    return mixed


def _gumbel(draws: Draws, *shape: int) -> Tensor:
    return -(-draws.uniform(*shape, low=1e-9).log()).log()


def _with_permuted_classes(draws: Draws, labels: Tensor, sizes: Sizes, schedule: Schedule) -> Tensor:
    """In some streams a new concept renames the classes."""
    batch = len(labels)
    names = torch.arange(sizes.max_classes).expand(CONCEPTS, batch, -1).clone()
    keys = draws.uniform(CONCEPTS, batch, sizes.max_classes)
    new = keys.masked_fill(torch.arange(sizes.max_classes) >= sizes.classes[:, None], 2.0).argsort(2)
    renamed = draws.happens(0.2, batch, 1)
    names[1:] = torch.where(renamed, new[1:], names[1:])
    return names[schedule.concept, torch.arange(batch)[:, None], labels]


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
    return x + shift[schedule.concept, torch.arange(batch)[:, None]]


def _in_runs(draws: Draws, config: PriorConfig, x: Tensor, labels: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """In some streams, samples within short blocks are sorted by class."""
    batch, length = labels.shape
    rows = draws.happens(config.runs, batch)
    block = torch.arange(length) // draws.integers(batch, 1, low=5, high=60)
    classes = int(labels.max()) + 1
    rank = draws.uniform(batch, classes).argsort(1).gather(1, labels)
    order = torch.where(rows[:, None], block * classes + rank, torch.arange(length)).argsort(dim=1, stable=True)
    return x.gather(1, order[..., None].expand_as(x)), labels.gather(1, order)


def _draw_present(draws: Draws, config: PriorConfig, sizes: Sizes, length: int) -> Tensor:
    """Values of the stream's own features, some of which are missing; some features appear late."""
    batch, width = len(sizes.features), config.max_features
    own = (torch.arange(width) < sizes.features[:, None])[:, None]
    rows = draws.happens(config.missing, batch, 1, 1)
    rate = draws.uniform(batch, 1, width, high=0.6) * draws.uniform(batch, 1, 1) * rows
    start = draws.uniform(batch, 1, width, high=0.7) * length * draws.happens(0.15, batch, 1, width) * rows
    start[..., 0] = 0
    return own & ~draws.happens(rate, batch, length, width) & (torch.arange(length)[:, None] >= start)
