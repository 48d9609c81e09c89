"""The configuration of an evaluation."""

from dataclasses import dataclass
from typing import Annotated

from srwm.data import Split
from srwm.data.splits import DatasetName
from srwm.ranges import AtLeast, Seed


@dataclass(frozen=True)
class EvaluationConfig:
    """Episodes and test-time augmentation of an evaluation."""

    episodes: Annotated[int, AtLeast(2)] = 10_000
    """number of episodes"""
    queries: Annotated[int, AtLeast(1)] | None = None
    """queries per episode; None: as many as in the run's validations"""
    seed: Seed = 1
    """random seed of the episodes"""
    tta_passes: Annotated[int, AtLeast(1)] = 1
    """test-time-augmented passes to average, each with another order of examples and view of images; 1: no augmentation"""
    data: DatasetName | None = None
    """data set to evaluate on, resized to the model's images; None: the run's own data set"""
    split: Split = "test"
    """classes to evaluate on: test, val (used to select the best weights) or train"""
