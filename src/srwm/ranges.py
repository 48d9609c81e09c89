"""Ranges of numbers, as annotations of a configuration's fields: `lr: Annotated[float, Above(0)] = 1e-3`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Range:
    """A condition on a number. `str(range)` is its description in error messages."""

    def holds(self, value: float) -> bool:
        """Whether the number is in the range.

        Args:
            value: the number.

        Returns:
            False for NaN and for numbers out of the range.

        Raises:
            NotImplementedError: always, unless a subclass defines it.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class AtLeast(Range):
    """At least `least`."""

    least: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range.

        Args:
            value: the number.

        Returns:
            False for NaN and for numbers out of the range.
        """
        return value >= self.least

    def __str__(self) -> str:
        return f"{self.least} or more"


@dataclass(frozen=True)
class Above(Range):
    """Greater than `bound`."""

    bound: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range.

        Args:
            value: the number.

        Returns:
            False for NaN and for numbers out of the range.
        """
        return value > self.bound

    def __str__(self) -> str:
        return f"a number above {self.bound}"


@dataclass(frozen=True)
class Between(Range):
    """From `low` to `high`, both included."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range.

        Args:
            value: the number.

        Returns:
            False for NaN and for numbers out of the range.
        """
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a number from {self.low} to {self.high}"


@dataclass(frozen=True)
class HalfOpen(Range):
    """From `low`, included, to `high`, excluded."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the number is in the range.

        Args:
            value: the number.

        Returns:
            False for NaN and for numbers out of the range.
        """
        return self.low <= value < self.high

    def __str__(self) -> str:
        return f"a number from {self.low} below {_POWERS.get(self.high, self.high)}"


@dataclass(frozen=True)
class Finite(Range):
    """Not infinite."""

    def holds(self, value: float) -> bool:
        """Whether the number is in the range.

        Args:
            value: the number.

        Returns:
            False for NaN and for numbers out of the range.
        """
        return abs(value) < float("inf")

    def __str__(self) -> str:
        return "a finite number"


_POWERS: dict[float, str] = {2**exponent: f"2**{exponent}" for exponent in (31, 63)}

SEED = HalfOpen(0, 2**63)
"""What `torch.Generator` and numpy both take as a seed."""
Seed: TypeAlias = Annotated[int, SEED]


def ranges_of(hint: Any) -> Iterator[Range]:
    """The ranges in a type hint: those of `Annotated`, alone, in a union, or for the elements of a tuple.

    Args:
        hint: the type hint.

    Returns:
        The ranges, one by one.
    """
    if get_origin(hint) is Annotated:
        yield from (each for each in hint.__metadata__ if isinstance(each, Range))
    for inner in get_args(hint):
        yield from ranges_of(inner)


def check_range(name: str, value: Any, ranges: Iterable[Range]) -> None:
    """Check a number, or each number of a tuple; None is in every range.

    Args:
        name: what an error names.
        value: the number or numbers.
        ranges: what each must hold to.

    Raises:
        ValueError: a number is NaN or out of a range.
    """
    for limits in ranges:
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not limits.holds(number):
                raise ValueError(f"{name}: expected {limits}, got {value}")


def check_ranges(config: "DataclassInstance") -> None:
    """Check the numbers of a configuration's own fields.

    Args:
        config: a dataclass.

    Raises:
        ValueError: a number is NaN or out of the range at its field; the message names the field.
    """
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        check_range(name, getattr(config, name), ranges_of(hint))
