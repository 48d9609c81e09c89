"""Running means and deviations of features, by which they are standardized."""

from typing import NamedTuple

import torch
from torch import Tensor

MEMORY = 2000
"""Number of values after which older ones begin to count less, so that the statistics can follow a change."""
LIMIT = 4.0
"""Number of standard deviations at which standardized values are clipped."""
NOISE = 1e-12
"""A variance below this share of the squared mean is that of rounding, and counts as none."""


class Statistics(NamedTuple):
    """Sums over the values of each feature so far, (B, F) float64 each. Zeros are those of no value."""

    number: Tensor
    """number of values, at most MEMORY"""
    origin: Tensor
    """the first value, which is subtracted from all, so that large values lose no digits"""
    total: Tensor
    """sum of the values"""
    squares: Tensor
    """sum of their squares"""


def standardize(x: Tensor, present: Tensor, before: Statistics) -> Tensor:
    """Subtract the running mean and divide by the running standard deviation; the value itself counts in both.

    Args:
        x: values (B, T, F).
        present: False where there is no value (B, T, F).
        before: the statistics before each value, (B, T, F) each.

    Returns:
        (B, T, F) float32, clipped at 4 deviations; 0 where there is no value, and for features that have not varied.
    """
    values = (x.double() - before.origin).masked_fill(~present | (before.number == 0), 0)
    count = before.number + 1
    mean = (before.total + values) / count
    variance = (before.squares + values.square()) / count - mean.square()
    deviation = variance.masked_fill(variance <= NOISE * mean.square(), torch.inf).sqrt()
    return ((values - mean) / deviation).clamp(-LIMIT, LIMIT).masked_fill(~present, 0).float()


def follow(x: Tensor, present: Tensor, start: Statistics) -> tuple[Statistics, Statistics]:
    """The statistics before each of T samples, and after all of them.

    Args:
        x: values (B, T, F).
        present: False where there is no value (B, T, F).
        start: the statistics before the first sample.

    Returns:
        The statistics before each sample, (B, T, F) each, and after the last one, (B, F) each.
    """
    if not x.shape[1]:
        return Statistics(*(part[:, None][:, :0] for part in start)), start
    first = x.double().gather(1, present.long().argmax(1, keepdim=True))[:, 0]
    origin = torch.where((start.number == 0) & present.any(1), first, start.origin)
    here = present.double()
    values = (x.double() - origin[:, None]).masked_fill(~present, 0)
    added, sums = (here, values, values.square()), (start.number, start.total, start.squares)
    if float(start.number.max()) + x.shape[1] <= MEMORY:
        running = [part[:, None] + more.cumsum(1) for part, more in zip(sums, added, strict=True)]
        before = [torch.cat([part[:, None], total[:, :-1]], 1) for part, total in zip(sums, running, strict=True)]
        count, total, squares = (part[:, -1] for part in running)
    else:
        count, total, squares = sums
        steps = []
        for t in range(x.shape[1]):
            steps.append((count, total, squares))
            kept = 1 - ((count >= MEMORY) & present[:, t]).double() / MEMORY
            count, total, squares = (part * kept + more[:, t] for part, more in zip(steps[-1], added, strict=True))
        before = [torch.stack(parts, 1) for parts in zip(*steps, strict=True)]
    return Statistics(before[0], origin[:, None].expand_as(x), *before[1:]), Statistics(count, origin, total, squares)
