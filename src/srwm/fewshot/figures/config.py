"""The options of a run's figures."""

from dataclasses import dataclass
from typing import Annotated

from srwm.ranges import AtLeast, Seed


@dataclass(frozen=True)
class FiguresConfig:
    """Options of a run's figures."""

    shots: Annotated[int, AtLeast(1)] | None = None
    """largest number of labeled examples per class; None: 5, or twice as many as in training, if the data has enough images"""
    layer: int | None = None
    """block whose matrix is drawn, counted from 1; None: the block that changes most"""
    head: int | None = None
    """head whose matrix is drawn, counted from 1; None: the head that changes most"""
    episodes: Annotated[int, AtLeast(2)] = 1000
    """episodes over which accuracies are averaged"""
    seed: Seed = 1
    """seed of the episodes"""
