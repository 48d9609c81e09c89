"""How fast a learner is as good as before after an abrupt drift."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BEFORE = 200
"""Samples before a drift over which a learner's level is measured."""
AFTER = 1_000
"""Samples after a drift within which it can recover."""
WINDOW = 25
"""Samples over which the accuracy after a drift is measured; none of them lies before the drift."""
SHARE = 0.95
"""The share of its level at which it has recovered."""


@dataclass(frozen=True)
class Recovery:
    """What a learner did at the drifts of a stream, a mean over drifts and seeds."""

    level: float
    """accuracy over the 200 samples before the drifts, 0 to 1"""
    after: float
    """accuracy over the 200 samples after the drifts, 0 to 1"""
    samples: int | None
    """samples after a drift until the accuracy over the last 25 is 95 % of the level, at least 25; None: not within 1,000"""


def around_drifts(correct: NDArray[np.bool_], drifts: Sequence[int]) -> NDArray[np.bool_]:
    """The answers around each drift of a stream.

    Args:
        correct: (T,), whether each answer was right.
        drifts: positions of the first samples of new concepts.

    Returns:
        (D, 1200): for each drift the 200 samples before it and the 1,000 from it on.

    Raises:
        ValueError: fewer samples lie before a drift or between it and the next drift or the end.
    """
    for drift, end in zip(drifts, [*drifts[1:], len(correct)], strict=True):
        if drift < BEFORE or end - drift < AFTER:
            expected = f"{BEFORE} samples before and {AFTER:,} from each on"
            raise ValueError(f"drifts: expected {expected}, got {list(drifts)} in a stream of {len(correct)}")
    return np.array([correct[drift - BEFORE : drift + AFTER] for drift in drifts], dtype=bool).reshape(-1, BEFORE + AFTER)


def recovery(around: NDArray[np.bool_]) -> Recovery:
    """How a learner recovers, from its accuracy at each position, which is a mean over drifts.

    The mean comes first: the accuracy of single drifts over 25 samples is too noisy to compare with a level.

    Args:
        around: (N, 1200), the answers around N drifts, as `around_drifts` gives them.

    Returns:
        Level, accuracy after the drifts and samples until it has recovered.

    Raises:
        ValueError: there is no drift, or `around` has another shape.
    """
    if around.ndim != 2 or around.shape[0] == 0 or around.shape[1] != BEFORE + AFTER:
        raise ValueError(f"around: expected (N, {BEFORE + AFTER}), N at least 1, got {around.shape}")
    accuracy = around.mean(0)
    level = float(accuracy[:BEFORE].mean())
    sums = np.concatenate([[0.0], np.cumsum(accuracy[BEFORE:])])
    rolling = (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW
    back = np.flatnonzero(rolling >= SHARE * level - 1e-9)
    samples = WINDOW + int(back[0]) if len(back) else None
    return Recovery(level, float(accuracy[BEFORE : 2 * BEFORE].mean()), samples)
