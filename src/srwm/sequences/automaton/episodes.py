"""Episodes of the automaton."""

from typing import NamedTuple

import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.automaton.symbols import Symbols
from srwm.sequences.batch import NO_TARGET, Batch, Bin, Purpose
from srwm.sequences.groups import Group, load_group, running_products


class Elements(NamedTuple):
    """The elements of several groups as one range of numbers, group after group."""

    groups: tuple[Group, ...]
    names: tuple[str, ...]
    """of the groups"""
    starts: tuple[int, ...]
    """the number of each group's identity"""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of elements of each group."""
        return tuple(group.size for group in self.groups)

    @property
    def classes(self) -> tuple[str, ...]:
        """A name for each element of each group."""
        named = zip(self.names, self.groups, strict=True)
        return tuple(f"{name} {element}" for name, group in named for element in group.names)


def elements_of(config: AutomatonConfig) -> Elements:
    """The elements of the groups of a configuration.

    Args:
        config: the configuration.

    Returns:
        The elements.
    """
    groups = tuple(map(load_group, config.groups))
    ends = torch.tensor([group.size for group in groups], dtype=torch.long, device="cpu").cumsum(0)
    return Elements(groups, tuple(config.groups), (0, *ends[:-1].tolist()))


def draw_episodes(
    config: AutomatonConfig, symbols: Symbols, purpose: Purpose, key: tuple[int, ...], count: int, lengths: Bin
) -> Batch:
    """Draw episodes: each symbol with its element, in random order, then a word of the symbols alone.

    All words of a batch have one length. The target of the word is the product of its elements so far; there is none before.

    Args:
        config: groups and shots.
        symbols: the source of symbols.
        purpose: what the episodes are for.
        key: seeds of the generator.
        count: number of episodes B.
        lengths: the range of the length of the words, and the group if it is to be the same in all episodes.

    Returns:
        B episodes.
    """
    draws = Draws(*key)
    elements = elements_of(config)
    sizes, starts = (torch.tensor(values, dtype=torch.long, device="cpu") for values in (elements.sizes, elements.starts))
    group = draws.integers(count, high=len(sizes))
    if lengths.group is not None:
        group = torch.full_like(group, elements.names.index(lengths.group))
    length = int(draws.integers(low=lengths.shortest, high=lengths.longest + 1))
    size, most = sizes[group][:, None], max(elements.sizes)

    order = draws.uniform(count, most).masked_fill(count_to(most) >= size, 2.0).argsort(1)
    shown = order.gather(1, (count_to(most * config.shots) % size))
    word = draws.below(size.expand(-1, length))
    used = torch.cat([shown, word], 1)
    uses = symbols.draw(draws, purpose, used, most)

    start = starts[group][:, None]
    states = torch.zeros_like(word)
    for number, each in enumerate(elements.groups):
        rows = group == number
        states[rows] = running_products(each.table, word[rows])
    targets = torch.cat([torch.full_like(shown, NO_TARGET), start + states], 1)
    labels = torch.cat([start + shown, torch.full_like(word, sum(elements.sizes))], 1)
    return Batch(uses.rows, targets, uses.items, labels)


def track_by_class_means(elements: Elements, batch: Batch, features: Tensor) -> Tensor:
    """Answers of a tracker that makes no mistake, behind a classifier that does.

    The mean of the features of each element's symbol is taken over the steps that show them; each symbol of the word is the
    element whose mean is nearest; the product of these elements is exact.

    Args:
        elements: the elements of the groups.
        batch: episodes (B, T).
        features: features of the items (I, F).

    Returns:
        The answers (B, T) int64, -1 before the word.
    """
    assert batch.labels is not None
    answers = torch.full_like(batch.targets, NO_TARGET)
    steps = int((batch.targets[0] == NO_TARGET).sum())
    shown, label = features[batch.tokens[:, :steps]], batch.labels[:, :steps]
    word = features[batch.tokens[:, steps:]]
    for group, start in zip(elements.groups, elements.starts, strict=True):
        size = group.size
        rows = (label[:, 0] >= start) & (label[:, 0] < start + size)
        is_of = torch.nn.functional.one_hot(label[rows] - start, size).to(features.dtype)
        means = is_of.transpose(1, 2) @ shown[rows] / is_of.sum(1)[..., None]
        nearest = torch.cdist(word[rows], means).argmin(2)
        answers[rows, steps:] = start + running_products(group.table, nearest)
    return answers
