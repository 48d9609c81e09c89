"""Values of features from users: numbers, categories and missing ones."""

import math
from numbers import Number
from typing import Any

import numpy as np

from srwm.learner.streams.tokens import token

FLOAT32_MAX = float(np.finfo(np.float32).max)

Key = tuple[str, str | None]
"""A number of a sample (its name's token, None), or a value of a category (its name's token, the value's token)."""

_MISSING_TYPES = ("NoneType", "NAType", "NaTType")


def is_missing(value: object) -> bool:
    """Whether a value stands for a missing one: None, or the NA or NaT of pandas or numpy. (NaN is a missing number.)"""
    return value is None or type(value).__name__ in _MISSING_TYPES or (isinstance(value, np.datetime64) and np.isnat(value))


def read_value(name: object, value: object) -> tuple[Key, float]:
    """Read a value that is not missing, or NaN.

    Args:
        name: The name of the feature.
        value: The value.

    Returns:
        A number's key and the number, or a category's key and 1.

    Raises:
        ValueError: It is a number that is not real, or not finite in float32.
        TypeError: It is neither a number nor hashable.
    """
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, Number) or _is_scalar_array(value):
        return (token(name), None), _number(name, value)
    try:
        return (token(name), token(value)), 1.0
    except TypeError as error:
        kind = type(value).__name__
        raise TypeError(
            f"feature {name!r}: argument must be a string, a number or another hashable value, got {kind}"
        ) from error


def _is_scalar_array(value: object) -> bool:
    """Whether it is a tensor or an array of one number, such as `tensor(1.0)`."""
    return getattr(value, "shape", None) == () and hasattr(value, "__float__") and not isinstance(value, np.generic)


def _number(name: object, value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"feature {name!r}: expected a real number, got {value!r}") from error
    if abs(number) > FLOAT32_MAX:
        raise ValueError(f"feature {name!r}: expected a number that is finite in float32, got {value!r}")
    return number
