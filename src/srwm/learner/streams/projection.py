"""A fixed random projection of standardized features onto the slots of a model."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from srwm.learner.streams.tokens import gaussian_row

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MEMORY = 1000
"""Samples after which the running statistics forget exponentially."""
_CLIP = 4.0
_TINY = 1e-6
STATISTICS = ("mean", "variance", "count", "rate", "age")


@dataclass(frozen=True, eq=False)
class Projection:
    """Running statistics of n features and their Gaussian rows. It is immutable: an update returns a new one.

    A feature adds its standardized value times its row, and its standardized presence times another row, since a feature that
    comes in some samples alone says something by being there. Both are clipped at 4 and divided by sqrt(n).
    """

    mean: Floats
    """running mean of each feature, (n,), where it was present"""
    variance: Floats
    """running variance of each feature, (n,)"""
    count: Floats
    """number of samples in which the feature was present, (n,), at most `MEMORY`"""
    rate: Floats
    """running share of samples in which the feature was present, (n,)"""
    age: Floats
    """number of samples since the feature appeared, (n,), at most `MEMORY`"""
    rows: NDArray[np.float32]
    """(2, n, num_slots): rows of values and of presence; zeros for a feature with a slot of its own"""

    @classmethod
    def empty(cls, num_slots: int) -> Self:
        """The projection of no features.

        Args:
            num_slots: Number of slots.

        Returns:
            The projection.
        """
        nothing = np.zeros(0)
        return cls(nothing, nothing, nothing, nothing, nothing, np.zeros((2, 0, num_slots), np.float32))

    def extended(self, seeds: list[str | None]) -> Self:
        """The projection of more features.

        Args:
            seeds: For each new feature the text that determines its rows, or None if it has a slot of its own.

        Returns:
            The new projection.
        """
        zeros = np.zeros(len(seeds))
        grown = {name: np.concatenate([getattr(self, name), zeros]) for name in STATISTICS}
        width = self.rows.shape[2]
        rows = np.zeros((2, len(seeds), width), np.float32)
        for i, seed in enumerate(seeds):
            if seed is not None:
                rows[:, i] = gaussian_row(seed, 2 * width).reshape(2, width)
        return replace(self, **grown, rows=np.concatenate([self.rows, rows], 1))

    def spread(self) -> Floats:
        """The running standard deviation of each feature, (n,); 0 before its second sample."""
        return np.sqrt(self.variance)

    def project(self, values: Floats, present: Bools) -> Floats:
        """Project samples by the statistics so far.

        Args:
            values: (T, n).
            present: (T, n); False where a value is missing.

        Returns:
            (T, num_slots).
        """
        scale = self.spread() + _TINY * np.abs(self.mean)
        known = (self.count >= 2) & (scale > 0)
        deviation = np.where(present & known, values - self.mean, 0)
        standardized = np.clip(deviation / np.where(known, scale, 1), -_CLIP, _CLIP)
        presence = np.where(self.age >= 2, present - self.rate, 0) / np.sqrt(self.rate * (1 - self.rate) + _TINY)
        stacked = np.stack([standardized, np.clip(presence, -_CLIP, _CLIP)]).astype(np.float32)
        projected: Floats = (stacked @ self.rows).sum(0) / np.sqrt(max(1, values.shape[1]))
        return projected.astype(np.float64)

    def after(self, values: Floats, present: Bools) -> Self:
        """The projection whose statistics include one more sample.

        Args:
            values: (n,).
            present: (n,).

        Returns:
            The new projection.
        """
        count = np.where(present, np.minimum(self.count + 1, MEMORY), self.count)
        age = np.minimum(self.age + 1, MEMORY)
        weight = np.where(present, 1 / np.maximum(count, 1), 0)
        deviation = np.where(present, values - self.mean, 0)
        mean = self.mean + weight * deviation
        variance = (1 - weight) * (self.variance + weight * deviation**2)
        rate = self.rate + (present - self.rate) / age
        return replace(self, mean=mean, variance=variance, count=count, rate=rate, age=age)
