"""Noticing that a training run stays at chance."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class ChanceWatch:
    """Says when a mean has stayed at chance for `patience`, and again after as much more.

    Args:
        limit: a mean below it counts as chance.
        patience: length of training, in any unit: steps, or the share of the budget.
    """

    limit: float
    patience: float
    _rows: deque[tuple[float, float]] = field(default_factory=deque)
    _last_warning: float = 0.0

    def update(self, position: float, length: float, value: float) -> tuple[float, float] | None:
        """Take the mean value of the last stretch of training.

        Args:
            position: how far training has come, in the unit of `patience`.
            length: how long that stretch was, in the same unit.
            value: the mean over it.

        Returns:
            The length of the window and the mean over it where that is at chance and a warning is due; else None.
        """
        self._rows.append((length, value))
        while sum(length for length, _ in self._rows) - self._rows[0][0] >= self.patience:
            self._rows.popleft()
        total = sum(length for length, _ in self._rows)
        mean = sum(length * value for length, value in self._rows) / total
        if total < self.patience or mean >= self.limit or position - self._last_warning < self.patience:
            return None
        self._last_warning = position
        return total, mean
