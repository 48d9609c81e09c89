"""Random rules that give a class to a sample, computed for a batch of streams at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to

_HIDDEN = 24
_PROTOTYPES = 24
_DEPTH = 5
_RULES = 6
_CONDITIONS = 3


class Sizes(NamedTuple):
    """Sizes of a batch of streams."""

    features: Tensor
    """number of features of each stream (B,)"""
    classes: Tensor
    """number of classes of each stream (B,)"""
    max_classes: int
    """width of the scores"""

    def of(self, rows: Tensor) -> "Sizes":
        """Those of some streams."""
        return Sizes(self.features[rows], self.classes[rows], self.max_classes)


def draw_scores(draws: Draws, x: Tensor, sizes: Sizes) -> Tensor:
    """Scores of random rules, a rule for each stream; the class is the one with the largest score.

    Args:
        draws: random numbers.
        x: features (B, T, F), standardized; unused ones are not read.
        sizes: sizes of the streams.

    Returns:
        (B, T, C); -inf for classes that a stream does not have.
    """
    batch, length, width = x.shape
    kind = draws.choice([weight for weight, _ in _KINDS], batch)
    kinds = [rule for _, rule in _KINDS]
    kind = kind.masked_fill((kind == kinds.index(_rules)) & (sizes.classes > _RULES), kinds.index(_tree))
    share = draws.uniform(batch)
    relevant = draws.subset(batch, (share * share * sizes.features).long() + 1, sizes.features, width)
    scores = x.new_zeros(batch, length, sizes.max_classes)
    for i, (_, rule) in enumerate(_KINDS):
        rows = (kind == i).nonzero()[:, 0]
        if len(rows):
            scores[rows] = rule(draws, x[rows], relevant[rows], sizes.of(rows))
    absent = count_to(sizes.max_classes) >= sizes.classes[:, None]
    return scores.masked_fill(absent[:, None], -torch.inf)


def _linear(draws: Draws, x: Tensor, relevant: Tensor, sizes: Sizes) -> Tensor:
    batch, _, width = x.shape
    weight = draws.normal(batch, width, sizes.max_classes) * relevant[..., None]
    return _balanced(draws, x @ weight)


def _network(draws: Draws, x: Tensor, relevant: Tensor, sizes: Sizes) -> Tensor:
    return _balanced(draws, _hidden(draws, x, relevant) @ draws.normal(len(x), _HIDDEN, sizes.max_classes))


def _hidden(draws: Draws, x: Tensor, relevant: Tensor) -> Tensor:
    """The hidden units of a random network with one or two layers: (B, T, _HIDDEN)."""
    batch, _, width = x.shape
    gain = draws.log_uniform(batch, 1, 1, low=0.7, high=3.0) / relevant.sum(1)[:, None, None].to(torch.float32).sqrt()
    weight = draws.normal(batch, width, _HIDDEN) * relevant[..., None] * gain
    units = (count_to(_HIDDEN) < draws.integers(batch, 1, low=2, high=_HIDDEN + 1)).to(torch.float32)[:, None]
    h = _activate(draws, x @ weight + draws.normal(batch, 1, _HIDDEN)) * units
    deep = draws.happens(0.3, batch, 1, 1)
    mixed = h @ (draws.normal(batch, _HIDDEN, _HIDDEN) / units.sum(2, keepdim=True).sqrt()) + draws.normal(batch, 1, _HIDDEN)
    return torch.where(deep, mixed.tanh(), h)


def _activate(draws: Draws, z: Tensor) -> Tensor:
    kind = draws.integers(len(z), 1, 1, high=4)
    h = torch.where(kind == 0, z.tanh(), z.relu())
    h = torch.where(kind == 1, z.sign(), h)
    return torch.where(kind == 2, (2 * z).sin(), h)


def _balanced(draws: Draws, scores: Tensor) -> Tensor:
    """Scores around 0 for every class, and offsets that make some classes rarer than others."""
    scores = scores - scores.mean(1, keepdim=True)
    scores = scores / (scores.std((1, 2), keepdim=True) + 1e-6)
    return scores + draws.normal(len(scores), 1, scores.shape[2]) * draws.uniform(len(scores), 1, 1, high=0.8)


def _binned(draws: Draws, x: Tensor, relevant: Tensor, sizes: Sizes) -> Tensor:
    """Classes are intervals of a number: a sum, a distance, a product, a wave or the output of a network."""
    batch, length, width = x.shape
    used = relevant.to(torch.float32)
    weight = draws.normal(batch, width) * used
    weight = torch.where(draws.happens(0.3, batch, 1), used, weight)
    total = torch.einsum("btf,bf->bt", x, weight)
    center = draws.normal(batch, 1, width) * draws.uniform(batch, 1, 1, high=1.0)
    distance = ((x - center).square() * used[:, None] * draws.uniform(batch, 1, width, low=0.3)).sum(2)
    product = x.masked_fill(~relevant[:, None], 1.0).clamp(-2, 2).prod(2)
    wave = (total / (weight.norm(dim=1)[:, None] + 1e-6) * draws.uniform(batch, 1, low=1.5, high=5.0)).sin()
    network = (_hidden(draws, x, relevant) * draws.normal(batch, 1, _HIDDEN)).sum(2)
    kind = draws.choice([0.35, 0.2, 0.1, 0.15, 0.2], batch, 1)
    value = torch.where(kind == 0, total, distance)
    for i, other in ((2, product), (3, wave), (4, network)):
        value = torch.where(kind == i, other, value)
    bins = torch.where(draws.happens(0.7, batch), sizes.classes, sizes.classes * 3)
    edges = draws.uniform(batch, 3 * sizes.max_classes).masked_fill(count_to(3 * sizes.max_classes) >= bins[:, None] - 1, 2.0)
    even = (count_to(3 * sizes.max_classes) + 1).to(torch.float32) / bins[:, None]
    edges = torch.where(draws.happens(0.4, batch, 1), even, edges).sort(1).values
    places = (edges.clamp(max=1) * (length - 1)).long()
    cuts = value.sort(1).values.gather(1, places).masked_fill(edges >= 1, torch.inf)
    cell = torch.searchsorted(cuts.contiguous(), value.contiguous())
    return _scores_of(_classes_of_cells(draws, cell, sizes, 3 * sizes.max_classes), sizes)


def _classes_of_cells(draws: Draws, cell: Tensor, sizes: Sizes, cells: int) -> Tensor:
    """Classes of numbered cells (B, T), drawn at random such that the first cells have different ones."""
    first = torch.where(
        count_to(cells) < sizes.classes[:, None],
        count_to(cells),
        draws.below(sizes.classes[:, None].expand(-1, cells)),
    )
    renamed = draws.uniform(len(cell), sizes.max_classes)
    renamed = renamed.masked_fill(count_to(sizes.max_classes) >= sizes.classes[:, None], 2.0).argsort(1)
    return renamed.gather(1, first).gather(1, cell)


def _scores_of(classes: Tensor, sizes: Sizes) -> Tensor:
    return torch.nn.functional.one_hot(classes, sizes.max_classes).to(torch.float32)


def _tree(draws: Draws, x: Tensor, relevant: Tensor, sizes: Sizes) -> Tensor:
    """A random binary tree, deep enough for all classes; some branches end early."""
    batch, length, _ = x.shape
    nodes = 2**_DEPTH - 1
    feature = _some_features(draws, relevant, nodes)
    threshold = _thresholds(draws, x, feature)
    enough = sizes.classes.to(torch.float32).log2().ceil().long()
    depth = torch.maximum(draws.integers(batch, low=1, high=_DEPTH + 1), enough)
    ends = draws.happens(draws.uniform(batch, 1, high=0.4), batch, nodes)
    ends[:, 0] = False
    node = torch.zeros(batch, length, dtype=torch.long, device="cpu")
    for level in range(_DEPTH):
        at = node.clamp(max=nodes - 1)
        goes_on = (node >= 2**level - 1) & ~ends.gather(1, at) & (level < depth[:, None])
        above = x.gather(2, feature.gather(1, at)[..., None])[..., 0] > threshold.gather(1, at)
        node = torch.where(goes_on, 2 * node + 1 + above.long(), node)
    return _scores_of(_leaf_classes(draws, node, sizes, 2 * nodes + 1), sizes)


def _leaf_classes(draws: Draws, leaf: Tensor, sizes: Sizes, cells: int) -> Tensor:
    """Classes of leaves: cells are numbered in random order, so that which leaves differ for certain is random."""
    order = draws.order(len(leaf), cells)
    common = leaf[:, draws.integers(sizes.max_classes, high=leaf.shape[1])]
    order = order + cells
    order.scatter_(1, common, count_to(sizes.max_classes).expand(len(leaf), -1))
    return _classes_of_cells(draws, order.argsort(1).argsort(1).gather(1, leaf), sizes, cells)


def _some_features(draws: Draws, relevant: Tensor, number: int) -> Tensor:
    """Relevant features at random: (B, number)."""
    return torch.multinomial(relevant.to(torch.float32), number, replacement=True, generator=draws.generator)


def _thresholds(draws: Draws, x: Tensor, feature: Tensor) -> Tensor:
    """Thresholds for features: the mean of the values of two random samples, (B, number)."""
    sample = draws.integers(2, *feature.shape, high=x.shape[1])
    rows = count_to(len(x))[:, None]
    return (x[rows, sample[0], feature] + x[rows, sample[1], feature]) / 2


def _rules(draws: Draws, x: Tensor, relevant: Tensor, sizes: Sizes) -> Tensor:
    """The first rule whose conditions all hold gives the class; there are at most _RULES + 1 classes."""
    batch, length, _ = x.shape
    number = _RULES * _CONDITIONS
    feature = _some_features(draws, relevant, number)
    above = x.gather(2, feature[:, None].expand(-1, length, -1)) > _thresholds(draws, x, feature)[:, None]
    holds = above ^ draws.happens(0.5, batch, 1, number)
    used = count_to(_CONDITIONS) < draws.integers(batch, _RULES, 1, low=1, high=_CONDITIONS + 1)
    fires = (holds.view(batch, length, _RULES, _CONDITIONS) | ~used[:, None]).all(3)
    fires &= (count_to(_RULES) < draws.integers(batch, 1, low=1, high=_RULES + 1))[:, None]
    first = torch.cat([fires, fires.new_ones(batch, length, 1)], 2).to(torch.float32).argmax(2)
    return _scores_of(_leaf_classes(draws, first, sizes, _RULES + sizes.max_classes), sizes)


def _prototypes(draws: Draws, x: Tensor, relevant: Tensor, sizes: Sizes) -> Tensor:
    """The class of the nearest of some points, in a metric that weighs features."""
    batch, length, width = x.shape
    at = draws.integers(batch, _PROTOTYPES, high=length)
    points = x.gather(1, at[..., None].expand(-1, -1, width)) + 0.3 * draws.normal(batch, _PROTOTYPES, width)
    metric = relevant * draws.log_uniform(batch, width, low=0.3, high=1.5)
    distance = torch.cdist(x * metric[:, None], points * metric[:, None])
    distance = distance * draws.uniform(batch, 1, _PROTOTYPES, low=0.7, high=1.4)
    number = torch.maximum(draws.integers(batch, low=2, high=_PROTOTYPES + 1), sizes.classes)
    nearest = distance.masked_fill((count_to(_PROTOTYPES) >= number[:, None])[:, None], torch.inf).argmin(2)
    return _scores_of(_classes_of_cells(draws, nearest, sizes, max(_PROTOTYPES, sizes.max_classes)), sizes)


_Rule = Callable[[Draws, Tensor, Tensor, Sizes], Tensor]
_KINDS: tuple[tuple[float, _Rule], ...] = (
    (0.18, _linear),
    (0.2, _network),
    (0.2, _binned),
    (0.2, _tree),
    (0.1, _rules),
    (0.12, _prototypes),
)
"""Relative frequency and function of each kind of rule."""
