"""What the symbols of an episode are: random vectors or drawings of characters."""

from functools import lru_cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from srwm.data import ImageClasses
from srwm.data.draws import Draws, count_to
from srwm.data.splits import load_splits
from srwm.errors import UserError
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.sequences.batch import Purpose


class Uses(NamedTuple):
    """The symbols of a batch of episodes at each of their uses."""

    items: Tensor
    """vectors (I, F) float32 or drawings (I, 1, H, W) uint8"""
    rows: Tensor
    """the item of each use (B, T) int64"""


class Symbols(Protocol):
    """Draws symbols for episodes."""

    def draw(self, draws: Draws, purpose: Purpose, used: Tensor, size: int) -> Uses:
        """Draw symbols that are different within an episode.

        Args:
            draws: the source of randomness.
            purpose: what the episodes are for.
            used: the number of the symbol at each use (B, T) int64.
            size: how many symbols an episode has.

        Returns:
            The symbols at each use.
        """


class Vectors:
    """Random vectors, the same at each use, new in every episode.

    Args:
        width: their width F.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def draw(self, draws: Draws, purpose: Purpose, used: Tensor, size: int) -> Uses:
        """As `Symbols`; numbers are standard normal."""
        batch = len(used)
        return Uses(draws.normal(batch * size, self.width), used + size * count_to(batch)[:, None])


class Drawings:
    """Characters of Omniglot; each use is a drawing drawn anew.

    Args:
        pool: characters that the episodes of a batch share.
    """

    def __init__(self, pool: int) -> None:
        self.pool = pool

    def draw(self, draws: Draws, purpose: Purpose, used: Tensor, size: int) -> Uses:
        """As `Symbols`; characters are those of the split with the name of the purpose."""
        data = load_drawings(purpose)
        pool = draws.order(len(data))[: self.pool]
        character = pool[draws.order(len(used), len(pool))[:, :size].gather(1, used)]
        offsets = torch.from_numpy(data.offsets)
        image = offsets[character] + draws.below(offsets[character + 1] - offsets[character])
        images, rows = torch.unique(image, return_inverse=True)
        return Uses(torch.from_numpy(data.images[images.numpy()]), rows)


def build_symbols(config: AutomatonConfig, most: int) -> Symbols:
    """The source of symbols that a configuration names.

    Args:
        config: the configuration.
        most: the largest number of symbols in an episode.

    Returns:
        The source.

    Raises:
        UserError: the pool has too few characters for an episode.
    """
    if config.symbols == "vectors":
        return Vectors(config.width)
    if config.pool < most:
        raise UserError(f"task.automaton.pool: expected {most} or more, as an episode has symbols, got {config.pool}")
    return Drawings(config.pool)


@lru_cache
def load_drawings(purpose: Purpose) -> ImageClasses:
    """The characters of a split of Omniglot, with rotations as characters of their own.

    Args:
        purpose: the split.

    Returns:
        The drawings.

    Raises:
        UserError: as `srwm.data.splits.load_splits`.
    """
    return load_splits("omniglot")[purpose]
