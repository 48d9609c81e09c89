"""The metadata of a checkpoint."""

import math
from dataclasses import dataclass, field
from typing import Literal

Preprocess = Literal["ink", "none"]


@dataclass(frozen=True)
class Rejection:
    """From which distance a learner says that an image is of none of its classes, calibrated on validation classes.

    The distance is that of `srwm.learner.unknown.distances`: squared, between features after LayerNorm and the nearest class
    mean, by 1 + 1 / k for a mean of k examples.

    Raises:
        ValueError: a number is not positive.
    """

    threshold: float
    """the distance that 5 % of the images of known classes exceed; an image there is as likely unknown as known"""
    slope: float
    """how steeply the probability of being unknown rises: of its logit, per multiple of the threshold"""

    def __post_init__(self) -> None:
        if not (0 < self.threshold < math.inf and 0 < self.slope < math.inf):
            raise ValueError(f"threshold, slope: expected positive numbers, got {self.threshold} and {self.slope}")


@dataclass(frozen=True)
class ModelMetadata:
    """Training data, preprocessing and results of a checkpoint.

    Raises:
        ValueError: `preprocess` is unknown, or a value is not a string.
    """

    trained_on: str = ""
    """the training data and its preparation"""
    preprocess: Preprocess = "none"
    """preprocessing of every image: `srwm.data.drawings.ink.normalize_ink` (`ink`), or none (`none`)"""
    results: dict[str, str] = field(default_factory=dict)
    """measured results by name, as in {"Omniglot, 5-way 1-shot": "96.00 ± 0.12 %"}"""

    rejection: Rejection | None = None
    """what the answer "unknown" depends on; None: a learner has no such answer"""

    def __post_init__(self) -> None:
        if self.preprocess not in ("ink", "none"):
            raise ValueError(f"preprocess: expected ink or none, got {self.preprocess!r}")
        texts = [self.trained_on, *self.results, *self.results.values()]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"trained_on, results: expected text, got {texts}")
