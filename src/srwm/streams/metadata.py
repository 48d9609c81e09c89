"""The metadata of a checkpoint of streams."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class StreamMetadata:
    """Training data and results of a checkpoint.

    Raises:
        ValueError: a value is not a string.
    """

    trained_on: str = ""
    """the training streams"""
    results: dict[str, str] = field(default_factory=dict)
    """measured results by name"""

    def __post_init__(self) -> None:
        texts = [self.trained_on, *self.results, *self.results.values()]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"trained_on, results: expected text, got {texts}")
