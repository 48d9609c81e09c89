"""How far a run has come."""

from dataclasses import dataclass, field


@dataclass
class Progress:
    """The part of a run's state that is numbers: it is saved with every checkpoint."""

    step: int = 0
    seconds: float = 0.0
    """wall time of training so far, over all of its sessions"""
    cpu_seconds: float = 0.0
    """processor time of training so far, all threads of the process added up"""
    best: float = -1.0
    """best validation accuracy so far"""
    validations_since_best: int = 0
    """number of validations since the best one"""
    sums: dict[str, float] = field(default_factory=dict)
    """of losses and accuracy by name"""
    count: int = 0
    """batches in the sums"""

    def add(self, values: dict[str, float]) -> None:
        """Count one batch's losses and accuracy in."""
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        self.count += 1

    def pop_means(self) -> dict[str, float]:
        """Mean losses and accuracy since the last call."""
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means
