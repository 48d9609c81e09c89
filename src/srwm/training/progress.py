"""The progress of a run."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from srwm.training.configuration import config_from_dict


@dataclass
class Progress:
    """The counters of a run, saved with every checkpoint."""

    RENAMED: ClassVar = {"stale": "validations_since_best", "updates": "count"}

    step: int = 0
    """optimizer steps; in reinforcement learning, updates"""
    frames: int = 0
    """steps of all environments of all processes; 0 where there are no environments"""
    seconds: float = 0.0
    """wall-clock time of training so far, over all of its sessions"""
    cpu_seconds: float = 0.0
    """CPU time of training so far, summed over the threads of the process"""
    best: float = -1.0
    """best validation accuracy so far"""
    validations_since_best: int = 0
    """number of validations since the best one"""
    sums: dict[str, float] = field(default_factory=dict)
    """sums of the metrics since the last logged row, by name"""
    count: int = 0
    """number of values in each sum"""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read the progress from a checkpoint.

        Args:
            values: what `to_dict` returned, in this or an earlier version.

        Returns:
            The progress.

        Raises:
            TypeError: a field is unknown or has another type.
            ValueError: a number is negative, not finite, or 2**63 or more.
        """
        progress = config_from_dict(cls, values)
        if not all(isinstance(name, str) and isinstance(value, int | float) for name, value in progress.sums.items()):
            raise TypeError(f"sums: expected numbers by name, got {progress.sums!r}")
        for name in ("step", "frames", "seconds", "cpu_seconds", "validations_since_best", "count"):
            value = getattr(progress, name)
            if not 0 <= value < 2**63:
                raise ValueError(f"{name}: expected 0 or more, got {value}")
        return progress

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for a checkpoint.

        Returns:
            Numbers, strings, lists and dicts.
        """
        return dataclasses.asdict(self)

    def add(self, values: dict[str, float]) -> None:
        """Add the metrics of one batch or update to the sums.

        Args:
            values: the metrics by name.
        """
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def pop_means(self) -> dict[str, float]:
        """The means of the metrics since the last call.

        Returns:
            The means by name; empty if nothing was added.
        """
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means
