"""When the concept of a stream changes."""

from typing import NamedTuple

import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to
from srwm.streams.prior.config import PriorConfig

CONCEPTS = 3
"""Largest number of concepts of a stream."""


class Schedule(NamedTuple):
    """The concepts of a batch of streams over time."""

    concept: Tensor
    """the concept that is in force at each sample (B, T), 0 to CONCEPTS - 1"""
    progress: Tensor
    """how far an incremental change from concept 0 to concept 1 has come (B, T), from 0 to 1; 0 in all other streams"""
    changes: Tensor
    """whether the stream has a drift of any kind (B,)"""


def draw_schedule(draws: Draws, config: PriorConfig, batch: int, length: int) -> Schedule:
    """Draw abrupt, gradual, recurring and incremental changes.

    Args:
        draws: random numbers.
        config: the prior.
        batch: number of streams B.
        length: number of samples T.

    Returns:
        The schedule.
    """
    time = count_to(length).to(torch.float32)
    kind = draws.choice([0.45, 0.25, 0.15, 0.15], batch, 1)  # abrupt, gradual, recurring, incremental
    changes = draws.happens(config.drift, batch)
    number = torch.where(kind == 2, draws.integers(batch, 1, low=2, high=6), 1 + draws.happens(0.35, batch, 1).long())
    at = draws.uniform(batch, 5, low=0.1, high=0.95) * length
    width = draws.log_uniform(batch, 1, low=10.0, high=max(20.0, length / 3)).masked_fill(kind != 1, 1e-3)
    passed = draws.uniform(batch, length, 5) < ((time[:, None] - at[:, None]) / width[..., None] + 0.5).clamp(0, 1)
    passed &= count_to(5) < number[..., None]
    concept = torch.where(kind == 2, passed.sum(2) % 2, passed.sum(2).clamp(max=CONCEPTS - 1))
    start, end = at[:, :1].minimum(at[:, 1:2]), at[:, :1].maximum(at[:, 1:2])
    whole = draws.happens(0.5, batch, 1)
    start, end = start.masked_fill(whole, 0.0), (end + 1).masked_fill(whole, float(length))
    progress = ((time - start) / (end - start)).clamp(0, 1)
    incremental = (kind == 3) & changes[:, None]
    concept = torch.where(changes[:, None] & (kind != 3), concept, 0)
    return Schedule(concept, progress.masked_fill(~incremental, 0.0), changes)
