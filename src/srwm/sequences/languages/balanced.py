"""Balanced strings of brackets from a grammar, given their length.

The grammar is S -> (S) with probability 1/2, S S with 1/4, the empty string with 1/4. A symbol S that yields m pairs of
brackets is replaced by (S) or S S in proportion to the probability that m pairs come of it. S S with one empty part changes
nothing and is left out.
"""

from functools import lru_cache
from math import sqrt

import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to

OPEN, CLOSE = 0, 1


def draw_balanced(draws: Draws, pairs: Tensor) -> Tensor:
    """Draw balanced strings.

    Args:
        draws: the source of randomness.
        pairs: number of pairs of each string (B,) int64.

    Returns:
        Brackets, 0 opens and 1 closes (B, 2 * most pairs) int64, padded with 0.
    """
    most = int(pairs.max()) if len(pairs) else 0
    strings = torch.full((len(pairs) * 2 * most,), OPEN, dtype=torch.long, device="cpu")
    place, size = 2 * most * count_to(len(pairs)), pairs  # of every S that is left: where it begins, how many pairs it yields
    while True:
        place, size = place[size > 0], size[size > 0]
        if not len(size):
            return strings.view(len(pairs), 2 * most)
        first = _first_part(draws, size, most)
        in_brackets = first == 0
        strings[(place + 2 * size - 1)[in_brackets]] = CLOSE
        inner, left, right = place + 1, place, place + 2 * first
        splits = ~in_brackets
        place = torch.cat([inner[in_brackets], left[splits], right[splits]])
        size = torch.cat([(size - 1)[in_brackets], first[splits], (size - first)[splits]])


def _first_part(draws: Draws, size: Tensor, most: int) -> Tensor:
    """How S that yields `size` pairs is replaced: 0 by (S), another number by S S with so many pairs in the first."""
    width = 1 << max(0, most - 1).bit_length()
    return torch.searchsorted(_rules(width), size + draws.uniform(len(size)).double(), right=True) - size * width


@lru_cache(maxsize=4)
def _rules(width: int) -> Tensor:
    """For each size m up to `width` a row of m + the cumulative probability of each first part, as one rising sequence."""
    yields = torch.zeros(width + 1, dtype=torch.float64, device="cpu")
    yields[0] = 2 - sqrt(3)  # x = 1/4 + 1/4 x²
    rules = torch.ones(width + 1, width, dtype=torch.float64, device="cpu")
    for m in range(1, width + 1):
        weights = torch.zeros(width, dtype=torch.float64, device="cpu")
        weights[0] = yields[m - 1] / 2
        weights[1:m] = yields[1:m] * yields[1:m].flip(0) / 4
        total = weights.sum()
        yields[m] = total / (1 - yields[0] / 2)
        rules[m, : m - 1] = (weights[: m - 1] / total).cumsum(0)
    return (rules + count_to(width + 1)[:, None]).flatten()
