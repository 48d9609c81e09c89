"""Noticing that a training run learns nothing."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from srwm.fewshot.config import TrainConfig
from srwm.fewshot.protocols.registry import protocol_of

_MARGIN = 0.02


def suggestions(config: TrainConfig) -> list[str]:
    """What a run that stays at chance has not tried yet, most effective first."""
    untried = {
        "--model.input balanced": config.model.head == "memory" and config.model.input != "balanced",
        "--auxiliary.kind neighbors": config.auxiliary.kind == "none",
        **dict.fromkeys(protocol_of(config).remedies(config), True),
        "--schedule trapezoid": config.schedule != "trapezoid",
        "--sampler pooled": config.sampler != "pooled",
    }
    return [option for option, left in untried.items() if left] + ["another --optimizer.lr"]


@dataclass
class ChanceWatch:
    """Tells when the training accuracy has stood at chance, 1 / ways, for `patience` steps, and again after as many more.

    At chance: the mean accuracy of those steps is less than 2 points above it.
    """

    chance: float
    suggestions: Sequence[str]
    patience: int = 500
    _rows: deque[tuple[int, float]] = field(default_factory=deque)
    _told: int = 0

    def update(self, step: int, steps: int, accuracy: float) -> str | None:
        """Take the mean accuracy of the last `steps` steps: one line of warning, or None where there is no cause."""
        self._rows.append((steps, accuracy))
        while sum(steps for steps, _ in self._rows) - self._rows[0][0] >= self.patience:
            self._rows.popleft()
        total = sum(steps for steps, _ in self._rows)
        mean = sum(steps * accuracy for steps, accuracy in self._rows) / total
        if total < self.patience or mean >= self.chance + _MARGIN or step - self._told < self.patience:
            return None
        self._told = step
        return (
            f"step {step}: training has stood at chance for {total} steps ({100 * mean:.1f} %, "
            f"chance {100 * self.chance:.1f} %); ways out: {', '.join(self.suggestions)} "
            "(docs/fewshot.md, 'When training stays at chance')"
        )
