"""What a checkpoint says about its weights."""

from dataclasses import dataclass, field
from typing import Literal

Preprocess = Literal["ink", "none"]


@dataclass(frozen=True)
class ModelMetadata:
    """Where weights come from and how their images are preprocessed.

    Raises:
        ValueError: there is no such `preprocess`, or a text is none.
    """

    trained_on: str = ""
    """the data, and what was done to it"""
    preprocess: Preprocess = "none"
    """what every image goes through: `srwm.data.drawings.ink.normalize_ink`, or nothing"""
    results: dict[str, str] = field(default_factory=dict)
    """measured results by name, as in {"Omniglot, 5-way 1-shot": "96.00 ± 0.12 %"}"""

    def __post_init__(self) -> None:
        if self.preprocess not in ("ink", "none"):
            raise ValueError(f"preprocess: expected ink or none, got {self.preprocess!r}")
        texts = [self.trained_on, *self.results, *self.results.values()]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"trained_on, results: expected text, got {texts}")
