"""Learning rate schedules."""

import math
from typing import Literal

ScheduleName = Literal["constant", "paper-warmup", "trapezoid"]

_WARMUP_STEPS = 100
_FLAT_UNTIL = 0.5
_FINAL = 0.02


def learning_rate(schedule: ScheduleName, base: float, step: int, spent: float, d_model: int) -> float:
    """The learning rate of a step.

    Args:
        schedule: constant: base. paper-warmup: base * d_model^-0.5 * min(step^-0.5, step * 5000^-1.5), as in Irie et al.
            (2022) with base 1. trapezoid: linear over 100 steps up to base, constant to half of the budget, linear to 2 % of
            base at its end.
        base: the largest learning rate of constant and trapezoid; a factor for paper-warmup.
        step: the step, from 1.
        spent: the fraction of the budget that is spent, from 0 to 1.
        d_model: width of the model.

    Returns:
        The learning rate.
    """
    match schedule:
        case "constant":
            return base
        case "paper-warmup":
            return base / math.sqrt(d_model) * min(1 / math.sqrt(step), step / (5000 * math.sqrt(5000)))
        case "trapezoid":
            decay = (spent - _FLAT_UNTIL) / (1 - _FLAT_UNTIL)
            return base * min(1.0, step / _WARMUP_STEPS) * (1 - (1 - _FINAL) * max(0.0, decay))
