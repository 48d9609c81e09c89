"""The metadata of a checkpoint."""

from dataclasses import dataclass, field
from typing import Literal

Preprocess = Literal["ink", "none"]


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

    def __post_init__(self) -> None:
        if self.preprocess not in ("ink", "none"):
            raise ValueError(f"preprocess: expected ink or none, got {self.preprocess!r}")
        texts = [self.trained_on, *self.results, *self.results.values()]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"trained_on, results: expected text, got {texts}")
