"""Configurations: dataclasses that are read from JSON and checked by their type hints."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from srwm.errors import UserError
from srwm.ranges import Range, check_range, ranges_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

NO_OUTCOME = {"outcome": False}
"""Metadata of a field that does not change results, so that a run may be resumed with another value."""


class Entry(NamedTuple):
    """A field of a configuration; the name of a field of a nested configuration has dots."""

    name: str
    value: Any
    hint: Any
    ranges: tuple[Range, ...]
    """ranges that each number in the value must be in"""
    decides: bool
    """whether results depend on it"""

    @property
    def nested(self) -> bool:
        """Whether the value is a configuration itself."""
        return dataclasses.is_dataclass(self.value) and not isinstance(self.value, type)


def config_from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """Build a configuration from the dictionary that `dataclasses.asdict` and JSON made of it.

    Names and values of earlier versions are converted by tables of the dataclass. `RENAMED` maps an earlier field name to the
    present one, or with dots to a field of a nested configuration. `RENAMED_VALUES` maps the earlier values of a field to
    present ones. Where tables are not enough, the dataclass has a classmethod `from_earlier`, which converts the dictionary
    before the tables are used.

    Args:
        kind: the dataclass.
        values: its fields, of this or an earlier version.

    Returns:
        The configuration.

    Raises:
        TypeError: a field is unknown or missing, or a nested value has another type than its hint.
    """
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if typing.get_origin(hint) is not typing.ClassVar}
    from_earlier = getattr(kind, "from_earlier", None)
    values = values if from_earlier is None else from_earlier(values)
    values = present_names(kind, values)
    unknown = values.keys() - hints.keys()
    if unknown:
        raise TypeError(f"unknown field {', '.join(sorted(unknown))}")
    restored = {}
    for name, value in values.items():
        try:
            restored[name] = _restore(hints[name], value)
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from error
    return kind(**restored)


def entries(config: "DataclassInstance", prefix: str = "") -> Iterator[Entry]:
    """The fields of a configuration in order. A nested configuration is followed by its fields.

    Args:
        config: the configuration.
        prefix: put before each name.

    Returns:
        The entries, one by one.
    """
    hints, annotated = (typing.get_type_hints(type(config), include_extras=extras) for extras in (False, True))
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        ranges = tuple(ranges_of(annotated[name]))
        entry = Entry(f"{prefix}{name}", value, hints[name], ranges, field.metadata != NO_OUTCOME)
        yield entry
        if entry.nested:
            yield from entries(value, f"{entry.name}.")


def check_values(config: "DataclassInstance", *, nested: bool = True) -> None:
    """Check the fields of a configuration by their type hints.

    Args:
        config: a dataclass whose hints may carry ranges: `Annotated[int, AtLeast(1)]`.
        nested: whether nested configurations are checked as well.

    Raises:
        UserError: a value has another type than its hint, is NaN, or is out of its range; the message names the field. A range
            applies to each number of a tuple, and None is in every range.
    """
    for entry in entries(config):
        if not nested and "." in entry.name:
            continue
        _check_type(entry)
        if not entry.nested:
            _check_numbers(entry)


def _check_type(entry: Entry) -> None:
    hint, value = entry.hint, entry.value
    if dataclasses.is_dataclass(hint) and not isinstance(value, typing.cast(type[Any], hint)):
        raise UserError(f"{entry.name}: expected {_name(hint)}, got {value!r}")
    if entry.nested:
        return
    try:
        _restore(hint, list(value) if isinstance(value, tuple) else value)
    except TypeError as error:
        raise UserError(f"{entry.name}: {error}") from error


def _check_numbers(entry: Entry) -> None:
    for name, value in _numbers(entry):
        if isinstance(value, float) and math.isnan(value):
            raise UserError(f"{name}: expected a number, got {entry.value}")
    try:
        check_range(_shown_name(entry), entry.value, entry.ranges)
    except ValueError as error:
        raise UserError(error) from error


def _numbers(entry: Entry) -> list[tuple[str, Any]]:
    """The values of an entry with their names: its value, the parts of a tuple, or the items of a dict."""
    if isinstance(entry.value, dict):
        return [(f"{entry.name}.{name}", value) for name, value in entry.value.items()]
    return [(_shown_name(entry), value) for value in (entry.value if isinstance(entry.value, tuple) else (entry.value,))]


def _shown_name(entry: Entry) -> str:
    return entry.name.removesuffix("_")  # a field that would be a keyword of Python


def present_names(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a configuration under the names and with the values of this version.

    Args:
        kind: the dataclass with the tables `RENAMED` and `RENAMED_VALUES`.
        values: its fields, of this or an earlier version.

    Returns:
        The fields of this version; nested configurations are not changed.

    Raises:
        TypeError: A field has both its earlier and its present name.
    """
    renamed, renamed_values = getattr(kind, "RENAMED", {}), getattr(kind, "RENAMED_VALUES", {})
    present: dict[str, Any] = {name: value for name, value in values.items() if name not in renamed}
    for name, value in values.items():
        if name in renamed:
            *outer, last = renamed[name].split(".")
            inside = present
            for part in outer:
                inside[part] = dict(inside.get(part, {}))
                inside = inside[part]
            if last in inside:
                raise TypeError(f"{name} is the earlier name of {renamed[name]}, and both are there")
            inside[last] = value
    for name, table in renamed_values.items():
        if isinstance(present.get(name), str):
            present[name] = table.get(present[name], present[name])
    return present


def _restore(hint: Any, value: Any) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(value, dict):
            return config_from_dict(typing.cast(type[Any], option), value)
        if typing.get_origin(option) is tuple and isinstance(value, list):
            return _restore_tuple(typing.get_args(option), value)
        if _fits(option, value):
            return value
    raise TypeError(f"expected {' or '.join(map(_name, options))}, got {value!r}")


def _restore_tuple(hints: tuple[Any, ...], values: list[Any]) -> tuple[Any, ...]:
    if hints[1:] == (...,):
        hints = hints[:1] * len(values)
    if len(values) != len(hints):
        raise TypeError(f"expected {len(hints)} values, got {values!r}")
    return tuple(_restore(hint, value) for hint, value in zip(hints, values, strict=True))


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    return "None" if hint is types.NoneType else str(getattr(hint, "__name__", hint))


def _fits(hint: Any, value: Any) -> bool:
    match typing.get_origin(hint):
        case typing.Literal:
            return value in typing.get_args(hint)
        case None:
            if isinstance(value, bool) != (hint is bool):
                return False
            return isinstance(value, (int, float) if hint is float else hint)
        case origin:
            return isinstance(value, origin)
