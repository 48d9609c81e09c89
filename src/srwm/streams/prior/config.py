"""How random streams are drawn."""

from dataclasses import dataclass
from typing import Annotated

from srwm.ranges import AtLeast, Between


@dataclass(frozen=True)
class PriorConfig:
    """The distribution of random streams. Probabilities are per stream unless another unit is given."""

    max_features: Annotated[int, AtLeast(2)] = 32
    """largest number of features; numbers are log-uniform from 2"""
    max_classes: Annotated[int, AtLeast(2)] = 16
    """largest number of classes"""
    binary: Annotated[float, Between(0, 1)] = 0.4
    """probability of two classes; otherwise numbers are log-uniform from 2"""
    generative: Annotated[float, Between(0, 1)] = 0.3
    """probability that features are drawn given the class; otherwise the class is computed from the features"""
    drift: Annotated[float, Between(0, 1)] = 0.6
    """probability of any drift"""
    max_noise: Annotated[float, Between(0, 1)] = 0.25
    """largest share of labels that are replaced by random ones"""
    noisy: Annotated[float, Between(0, 1)] = 0.5
    """probability of such noise"""
    missing: Annotated[float, Between(0, 1)] = 0.15
    """probability of missing values"""
    categories: Annotated[float, Between(0, 1)] = 0.2
    """probability of groups of features that are the one-hot code of a category"""
    correlated: Annotated[float, Between(0, 1)] = 0.12
    """probability that successive samples are alike"""
    runs: Annotated[float, Between(0, 1)] = 0.06
    """probability that samples of one class come in runs"""
    delayed: Annotated[float, Between(0, 1)] = 0.08
    """probability that labels are shown later than their sample"""
    max_delay: Annotated[int, AtLeast(1)] = 30
    """largest delay, in samples"""
