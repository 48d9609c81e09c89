"""Ranges of numbers, as annotations of a configuration's fields: `lr: Annotated[float, Above(0)] = 1e-3`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_args, get_origin


class Range:
    """A condition on a number. `str(range)` is its description in error messages."""

    def holds(self, value: float) -> bool:
        """Whether the number is in the range."""
        raise NotImplementedError


@dataclass(frozen=True)
class AtLeast(Range):
    """At least `least`."""

    least: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range."""
        return value >= self.least

    def __str__(self) -> str:
        return f"{self.least} or more"


@dataclass(frozen=True)
class Above(Range):
    """Greater than `bound`."""

    bound: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range."""
        return value > self.bound

    def __str__(self) -> str:
        return f"a number above {self.bound}"


@dataclass(frozen=True)
class Between(Range):
    """From `low` to `high`, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a number from {self.low} to {self.high}"


@dataclass(frozen=True)
class HalfOpen(Range):
    """From `low`, included, to `high`, excluded."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range."""
        return self.low <= value < self.high

    def __str__(self) -> str:
        return f"a number from {self.low} below {'2**63' if self.high == 2**63 else self.high}"


@dataclass(frozen=True)
class Finite(Range):
    """Not infinite."""

    def holds(self, value: float) -> bool:
        """Whether the number is in the range."""
        return abs(value) < float("inf")

    def __str__(self) -> str:
        return "a finite number"


SEED = HalfOpen(0, 2**63)
"""What `torch.Generator` and numpy both take as a seed."""
Seed: TypeAlias = Annotated[int, SEED]


def ranges_of(hint: Any) -> Iterator[Range]:
    """The ranges in a type hint: those of `Annotated`, alone, in a union, or for the elements of a tuple."""
    if get_origin(hint) is Annotated:
        yield from (each for each in hint.__metadata__ if isinstance(each, Range))
    for inner in get_args(hint):
        yield from ranges_of(inner)
