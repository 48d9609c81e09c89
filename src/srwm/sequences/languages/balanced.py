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
_CLOSING = -1
"""A bracket on the stack; S that yields m pairs is m."""


def draw_balanced(draws: Draws, pairs: Tensor) -> Tensor:
    """Draw balanced strings.

    Args:
        draws: the source of randomness.
        pairs: number of pairs of each string (B,) int64.

    Returns:
        Brackets, 0 opens and 1 closes (B, 2 * most pairs) int64, padded with 0.
    """
    most = int(pairs.max()) if len(pairs) else 0
    rules = _rules(_power_of_two(most))
    rows = count_to(len(pairs))
    stack = torch.zeros(len(pairs), most + 2, dtype=torch.long, device="cpu")
    stack[:, 0], height = pairs, (pairs > 0).long()
    strings = torch.zeros(len(pairs), 2 * most + 1, dtype=torch.long, device="cpu")
    length = torch.zeros_like(pairs)
    while bool((height > 0).any()):
        works = height > 0
        top = stack[rows, (height - 1).clamp(min=0)]
        closes, size = works & (top == _CLOSING), top.clamp(min=0)
        draw = draws.uniform(len(pairs))[:, None].to(rules.dtype)
        part = torch.searchsorted(rules[size], draw, right=True)[:, 0].clamp(max=(size - 1).clamp(min=0))
        splits = works & ~closes & (part > 0)
        opens = works & ~closes & (part == 0)

        emitted = torch.where(closes, CLOSE, OPEN)
        place = torch.where(closes | opens, length, 2 * most)  # those that emit nothing write behind the end
        strings[rows, place] = emitted
        length += closes | opens

        below = torch.where(splits, size - part, _CLOSING)
        above = torch.where(splits, part, size - 1)
        at = (height - 1).clamp(min=0)
        stack[rows, at] = torch.where(splits | opens, below, stack[rows, at])
        has_above = (splits | opens) & (above > 0)
        stack[rows, height] = torch.where(has_above, above, stack[rows, height])
        height += has_above.long() - closes.long()
    return strings[:, : 2 * most]


@lru_cache(maxsize=4)
def _rules(most: int) -> Tensor:
    """Cumulative probabilities for S with m pairs (most + 1, most): column 0 is (S), column i is S S with i pairs first."""
    yields = torch.zeros(most + 1, dtype=torch.float64, device="cpu")
    yields[0] = 2 - sqrt(3)  # x = 1/4 + 1/4 x²
    rules = torch.ones(most + 1, max(most, 1), dtype=torch.float64, device="cpu")
    for m in range(1, most + 1):
        weights = torch.zeros(max(most, 1), dtype=torch.float64, device="cpu")
        weights[0] = yields[m - 1] / 2
        weights[1:m] = yields[1:m] * yields[1:m].flip(0) / 4
        total = weights.sum()
        yields[m] = total / (1 - yields[0] / 2)
        rules[m] = (weights / total).cumsum(0)
    return rules


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
