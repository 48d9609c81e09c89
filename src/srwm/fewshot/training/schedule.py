"""Learning rates, and the budget that a training run may spend."""

import math
from dataclasses import dataclass
from typing import Literal

from srwm.fewshot.training.progress import Progress

ScheduleName = Literal["constant", "paper-warmup", "trapezoid"]

_WARMUP_STEPS = 100
_FLAT_UNTIL = 0.5
_FINAL = 0.02


@dataclass(frozen=True)
class Budget:
    """An end to training: steps, minutes, processor minutes, validations without a new best, or whichever comes first."""

    steps: int | None
    minutes: float | None
    cpu_minutes: float | None = None
    patience: int | None = None

    def spent(self, progress: Progress) -> float:
        """The fraction that is spent, at most 1; lost patience spends all of it at once."""
        by_steps = progress.step / self.steps if self.steps else 0.0
        by_minutes = progress.seconds / (60 * self.minutes) if self.minutes else 0.0
        by_cpu = progress.cpu_seconds / (60 * self.cpu_minutes) if self.cpu_minutes else 0.0
        lost = self.patience is not None and progress.validations_since_best >= self.patience
        return 1.0 if lost else min(1.0, max(by_steps, by_minutes, by_cpu))


def learning_rate(schedule: ScheduleName, base: float, step: int, progress: float, d_model: int) -> float:
    """The learning rate of a step (counted from 1) at a progress in [0, 1].

    constant: base. paper-warmup: base * d_model^-0.5 * min(step^-0.5, step * 5000^-1.5), as in Irie et al. (2022) with base 1.
    trapezoid: linear over 100 steps up to base, flat to half of the budget, linear to 2 % of base at its end.
    """
    match schedule:
        case "constant":
            return base
        case "paper-warmup":
            return base / math.sqrt(d_model) * min(1 / math.sqrt(step), step / (5000 * math.sqrt(5000)))
        case "trapezoid":
            decay = (progress - _FLAT_UNTIL) / (1 - _FLAT_UNTIL)
            return base * min(1.0, step / _WARMUP_STEPS) * (1 - (1 - _FINAL) * max(0.0, decay))
