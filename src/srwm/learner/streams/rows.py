"""Conversion of samples from users: tables of numbers, and mappings for tables that also hold texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from srwm.learner.streams.projection import Floats
from srwm.learner.streams.tokens import token
from srwm.learner.streams.values import is_missing
from srwm.learner.tables import column_names, tensor_to_array

Sample = Mapping[Any, Any]


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples in order: a table of numbers, or else mappings from names to values."""

    tokens: list[str]
    """of the columns of `numbers`"""
    numbers: Floats | None
    """(n, columns); NaN is missing"""
    samples: Sequence[Sample]
    """where there is no table of numbers"""
    columns: int | None
    """number of columns; None where mappings were given"""
    names: tuple[str, ...] | None
    """names of the columns, where a data frame was given"""

    def __len__(self) -> int:
        return len(self.samples if self.numbers is None else self.numbers)

    def piece(self, start: int, stop: int) -> "Rows":
        """The rows from `start` up to `stop`."""
        numbers = None if self.numbers is None else self.numbers[start:stop]
        return Rows(self.tokens, numbers, self.samples[start:stop], self.columns, self.names)


def read_rows(X: object, columns: int | None = None, names: tuple[str, ...] | None = None) -> Rows:
    """Convert samples.

    Args:
        X: An array, a tensor, a data frame or nested lists, (n, columns), or a list of mappings. Arrays of dates are read as
            seconds.
        columns: Number of columns of earlier tables, or None.
        names: Names of the columns of earlier tables, or None where they had none. Columns have the same places as there.

    Returns:
        The samples.

    Raises:
        ValueError: X has another shape or type of numbers, or another number of columns than earlier tables.
        TypeError: X is sparse.
    """
    if isinstance(X, Sequence) and len(X) and all(isinstance(sample, Mapping) for sample in X):
        return Rows([], None, list(X), None, None)
    array, given = _array(X), column_names(X)
    if array.shape[1] != (columns or array.shape[1]):
        raise ValueError(f"X has {array.shape[1]} features, but StreamClassifier is expecting {columns} features as input")
    keys: tuple[str | int, ...] = (given if columns is None else names) or tuple(range(array.shape[1]))
    if len(set(keys)) < len(keys):
        raise ValueError(f"X: expected columns of different names, got {list(keys)}")
    numbers = _numbers(array)
    samples = _samples(array, keys) if numbers is None else []
    return Rows([token(key) for key in keys], numbers, samples, array.shape[1], given)


def _array(X: object) -> NDArray[Any]:
    if hasattr(X, "nnz") and hasattr(X, "tocsr"):
        raise TypeError("X: expected a dense table, got a sparse one; use X.toarray()")
    try:
        array = tensor_to_array(X, "X", floats=True) if isinstance(X, Tensor) else np.asarray(X)
        if array.dtype.kind in "US" and not hasattr(X, "dtype"):
            array = np.asarray(X, dtype=object)  # numpy would have made texts of the numbers beside texts
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"X: expected a table (n, columns), got {type(X).__name__} ({error})") from error
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: X has dtype {array.dtype}")
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead: X has shape {array.shape}. Reshape your data using "
            "X.reshape(-1, 1) if it has a single feature or X.reshape(1, -1) if it contains a single sample."
        )
    if array.shape[1] == 0:
        raise ValueError(f"X: Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required.")
    return array


def _numbers(array: NDArray[Any]) -> Floats | None:
    """The table as numbers, None where some values are not numbers."""
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    if array.dtype.kind in "mM":
        seconds = array.astype(f"{array.dtype.kind}8[us]").astype(np.int64) / 1e6
        return np.where(np.isnat(array), np.nan, seconds)
    if array.dtype != object or not all(_is_number(value) for value in array.flat):
        return None
    try:
        return np.array([[np.nan if is_missing(value) else value for value in row] for row in array], np.float64)
    except (OverflowError, TypeError) as error:
        raise ValueError(f"X: expected numbers that are finite in float32 ({error})") from error


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float | np.number | np.bool_) or is_missing(value)


def _samples(array: NDArray[Any], keys: tuple[Any, ...]) -> list[Sample]:
    """Mappings. In a column that also holds texts, NaN is a text that is missing."""
    texts = [not all(_is_number(value) for value in column) for column in array.T]
    return [
        {
            key: None if text and isinstance(value, float) and value != value else value
            for key, value, text in zip(keys, row, texts, strict=True)
        }
        for row in array.tolist()
    ]
