"""Detection of training runs that stay at chance."""

from collections import deque
from dataclasses import dataclass, field


@dataclass
class ChanceWatch:
    """Detects that a metric has stayed at chance for `patience`, and again after every further `patience`.

    Args:
        limit: means below it count as chance.
        patience: a length of training in any unit, such as steps or a fraction of the budget.
    """

    limit: float
    patience: float
    _rows: deque[tuple[float, float]] = field(default_factory=deque)
    _last_warning: float = 0.0

    def update(self, position: float, length: float, value: float) -> tuple[float, float] | None:
        """Add the mean of the metric over the last interval of training.

        Args:
            position: the end of the interval, in the unit of `patience`.
            length: the length of the interval, in the same unit.
            value: the mean of the metric over it.

        Returns:
            The length of the window and the mean over it if a warning is due, else None.
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
