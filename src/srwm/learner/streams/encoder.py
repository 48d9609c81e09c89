"""From named features of any kind, which come and go, to the numbered slots of a model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from srwm.learner.streams.projection import Bools, Floats, Projection
from srwm.learner.streams.tokens import stable_hash
from srwm.learner.streams.values import FLOAT32_MAX, Key, is_missing, read_value

MAX_FEATURES = 4096
"""Most features, numbers and values of categories together, that an encoder keeps; further ones share places by a hash."""
MAX_VALUES = 16
"""Most values of one categorical feature with places of their own; further ones share these places by a hash."""


class Encoded(NamedTuple):
    """Samples as a model reads them."""

    x: Floats
    """(T, num_slots) values, 0 where missing; float64, since times and identifiers have more digits than float32"""
    present: Bools
    """(T, num_slots)"""


@dataclass(frozen=True, eq=False)
class Encoder:
    """The place of each feature, and running statistics where there are more places than slots.

    A number or bool has one place. A category has one place for each of its values: 1 for the value that a sample has, 0 for
    the others. New features of one sample get places in the order of their names, so the order within a dict does not matter.
    A feature gets its place with its first value, not while it is missing.

    Places below `num_direct` are slots of the model. All others are projected onto all slots (`Projection`). `num_direct` is
    the number of slots, or 0 if the first sample alone has more features than that.

    An encoder is immutable: what it learns is in a new one.
    """

    num_slots: int
    num_direct: int = 0
    numbers: Mapping[str, int] = field(default_factory=dict)
    """the place of each number, by the name's token"""
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """the place of each value of each category, by the tokens of name and value"""
    projection: Projection | None = None
    """of all places; None while no place is projected"""

    @property
    def keys(self) -> list[Key]:
        """What has a place, in order of the places."""
        places: dict[Key, int] = {(name, None): place for name, place in self.numbers.items()}
        places |= {(name, value): place for name, known in self.values.items() for value, place in known.items()}
        return sorted(places, key=places.__getitem__)

    @cached_property
    def num_places(self) -> int:
        """Number of places."""
        return len(self.numbers) + sum(map(len, self.values.values()))

    def encoded(self, samples: Iterable[Mapping[object, object]]) -> Encoded:
        """Samples as queries: each as if it were the next one of the stream. The encoder does not change.

        Args:
            samples: Features by name: numbers, bools, or hashable values as categories; None, NaN or no entry is missing.

        Returns:
            The samples as the model reads them.

        Raises:
            ValueError: A number is infinite, or too large for float32.
            TypeError: A name or value is not hashable.
        """
        parts = []
        for sample in samples:
            encoder, places, amounts = self._read(sample)
            parts.append(encoder._row(places, amounts)[0])
        return _joined(parts, self.num_slots)

    def learned(self, samples: Iterable[Mapping[object, object]]) -> tuple[Self, Encoded]:
        """Samples in order, each encoded by what came before it, as `encoded` does.

        Args:
            samples: As in `encoded`.

        Returns:
            The encoder after them, and the samples as the model reads them.

        Raises:
            ValueError: As `encoded`.
            TypeError: As `encoded`.
        """
        encoder, parts = self, []
        for sample in samples:
            encoder, places, amounts = encoder._read(sample)
            row, encoder = encoder._row(places, amounts)
            parts.append(row)
        return encoder, _joined(parts, self.num_slots)

    def encoded_table(self, names: list[str], table: Floats) -> Encoded:
        """The rows of a table of numbers as queries, as `encoded`.

        Args:
            names: The token of each column.
            table: (T, columns); NaN is missing.

        Returns:
            The rows as the model reads them.

        Raises:
            ValueError: As `encoded`.
        """
        pieces = [table[t : t + 1] for t in range(len(table))] if self._first_rows(names, table) else [table]
        parts = []
        for piece in pieces:
            encoder, values, present = self._read_table(names, piece)
            parts.append(encoder._placed(values, present))
        return _joined(parts, self.num_slots)

    def learned_table(self, names: list[str], table: Floats) -> tuple[Self, Encoded]:
        """The rows of a table of numbers in order, as `learned`.

        Args:
            names: The token of each column.
            table: (T, columns); NaN is missing.

        Returns:
            The encoder after them, and the rows as the model reads them.

        Raises:
            ValueError: As `encoded`.
        """
        encoder, parts = self, []
        for start, end in pairwise(sorted({0, len(table), *self._first_rows(names, table)})):
            encoder, values, present = encoder._read_table(names, table[start:end])
            if encoder.projection is None:
                parts.append(encoder._placed(values, present))
                continue
            for row, there in zip(values, present, strict=True):
                parts.append(encoder._placed(row[None], there[None]))
                encoder = encoder._after(row, there)
        return encoder, _joined(parts, self.num_slots)

    def _read(self, sample: Mapping[Any, Any]) -> tuple[Self, list[int], list[float]]:
        """The encoder with places for all that the sample has, the places that it fills, and the values there."""
        places: list[int] = []
        amounts: list[float] = []
        new: list[Key] = []
        numbers = self.numbers
        for name, value in sample.items():
            kind = type(value)  # the usual case, quickly
            if (kind is float or kind is int) and -FLOAT32_MAX <= value <= FLOAT32_MAX and name in numbers:
                places.append(numbers[name])
                amounts.append(value)
            elif not is_missing(value):
                key, amount = read_value(name, value)
                place = self._place(key)
                if amount != amount:
                    continue
                if place is None:
                    new.append(key)
                else:
                    others = self.values.get(key[0], {}).values() if key[1] is not None else ()
                    places.extend((*others, place))
                    amounts.extend((*[0.0] * len(others), amount))
        return self.with_places(new)._read(sample) if new else (self, places, amounts)

    def _first_rows(self, names: list[str], table: Floats) -> set[int]:
        """The rows of a table in which columns without places have their first values."""
        new = [column for column, name in enumerate(names) if self._place((name, None)) is None]
        present = ~np.isnan(table[:, new])
        return set(present.argmax(0)[present.any(0)].tolist()) if len(table) else set()

    def _read_table(self, names: list[str], table: Floats) -> tuple[Self, Floats, Bools]:
        """The encoder with places for all columns that have values, and the values and their presence at each place."""
        if not (np.abs(np.nan_to_num(table, nan=0.0)) <= FLOAT32_MAX).all():
            raise ValueError("X: expected numbers that are finite in float32, got infinity or a value too large")
        columns = np.flatnonzero(~np.isnan(table).all(0)).tolist()
        keys: list[Key] = [(names[column], None) for column in columns]
        encoder = self.with_places(keys)
        values = np.full((len(table), encoder.num_places), np.nan)
        values[:, [encoder._place(key) for key in keys]] = table[:, columns]
        present = ~np.isnan(values)
        return encoder, np.where(present, values, 0.0), present

    def with_places(self, keys: Iterable[Key]) -> Self:
        """The encoder with places for new keys, as far as there is room.

        Args:
            keys: What may be new.

        Returns:
            The new encoder.
        """
        new = sorted({key for key in keys if self._place(key) is None}, key=_order)
        before, num_direct = self.num_places, self.num_direct
        if not before:
            num_direct = self.num_slots if len(new) <= self.num_slots else 0
        return self.extended(new[: MAX_FEATURES - before], num_direct)

    def extended(self, new: list[Key], num_direct: int) -> Self:
        """The encoder with places for new keys, in the order given.

        Args:
            new: Keys without places.
            num_direct: Number of places that are slots, which changes from 0 with the first features alone.

        Returns:
            The new encoder.
        """
        before = self.num_places
        numbers, values = dict(self.numbers), {name: dict(known) for name, known in self.values.items()}
        for place, (name, value) in enumerate(new, before):
            if value is None:
                numbers[name] = place
            else:
                values.setdefault(name, {})[value] = place
        projection = self.projection
        if projection is None and before + len(new) > num_direct:
            seeds = self.keys + new
            projection = Projection.empty(self.num_slots)
        else:
            seeds = new
        if projection is not None:
            first = before + len(new) - len(seeds)
            projection = projection.extended([None if i < num_direct else _seed(key) for i, key in enumerate(seeds, first)])
        return replace(self, num_direct=num_direct, numbers=numbers, values=values, projection=projection)

    def _place(self, key: Key) -> int | None:
        """The place of a key, None if it is new. Where there is no room for a new one, it shares one, chosen by a hash."""
        name, value = key
        known = self.numbers if value is None else self.values.get(name, {})
        place = known.get(name if value is None else value)
        if place is None and value is not None and len(known) >= MAX_VALUES:
            return list(known.values())[stable_hash(_seed(key)) % len(known)]
        if place is None and self.num_places >= MAX_FEATURES:
            return self.num_direct + stable_hash(_seed(key)) % (MAX_FEATURES - self.num_direct)
        return place

    def _row(self, places: list[int], amounts: list[float]) -> tuple[Encoded, Self]:
        """One sample, and the encoder after it. Where a place comes twice, its last value counts."""
        if self.projection is None:
            x, there = np.zeros((1, self.num_slots)), np.zeros((1, self.num_slots), np.bool_)
            x[0, places], there[0, places] = amounts, True
            return Encoded(x, there), self
        values, present = np.zeros(self.num_places), np.zeros(self.num_places, np.bool_)
        values[places], present[places] = amounts, True
        return self._placed(values[None], present[None]), self._after(values, present)

    def _placed(self, values: Floats, present: Bools) -> Encoded:
        x, there = np.zeros((len(values), self.num_slots)), np.zeros((len(values), self.num_slots), np.bool_)
        direct = min(self.num_direct, values.shape[1])
        x[:, :direct], there[:, :direct] = values[:, :direct], present[:, :direct]
        if self.projection is None:
            return Encoded(x, there)
        projected = self.projection.project(values, present)
        if direct:
            x += np.where(there, self.projection.spread()[:direct] * projected, 0)
        else:
            x, there = projected, np.repeat(present.any(1, keepdims=True), self.num_slots, 1)
        return Encoded(np.clip(x, -FLOAT32_MAX, FLOAT32_MAX), there)

    def _after(self, values: Floats, present: Bools) -> Self:
        return self if self.projection is None else replace(self, projection=self.projection.after(values, present))


def _joined(parts: list[Encoded], num_slots: int) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return Encoded(np.zeros((0, num_slots)), np.zeros((0, num_slots), np.bool_))
    return Encoded(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _order(key: Key) -> tuple[bool, float, str, str]:
    """By the name: numbers first, by value, then texts."""
    name, value = key
    number = name.removeprefix("\0number:")
    is_text = number == name
    return is_text, 0.0 if is_text else float(number), name, value or ""


def _seed(key: Key) -> str:
    name, value = key
    return name if value is None else f"{name}\0={value}"
