"""Conversion of tensors to arrays, and the column names of tables."""

import warnings
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

_MISMATCH = "The feature names should match those that were passed during fit."


def tensor_to_array(tensor: Tensor, name: str, floats: bool = False) -> NDArray[Any]:
    """Convert a tensor on any device to an array.

    Args:
        tensor: The tensor.
        name: The argument's name, for messages.
        floats: Whether floating numbers of any dtype become float32.

    Returns:
        An array of its own dtype, or float32.

    Raises:
        ValueError: It has no data (meta, fake) or is not dense (sparse, nested, quantized).
    """
    try:
        dense = tensor.detach().cpu().resolve_conj().resolve_neg()
        array: NDArray[Any] = (dense.float() if floats and dense.is_floating_point() else dense).numpy()
    except Exception as error:  # PyTorch raises errors of many types, and AssertionError, for tensors without numbers
        kind = "quantized" if tensor.is_quantized else "nested" if tensor.is_nested else f"{tensor.layout} {tensor.device.type}"
        raise ValueError(f"{name}: expected a dense tensor with numbers, got a {kind} tensor of {tensor.dtype}") from error
    return array


def column_names(table: object) -> tuple[str, ...] | None:
    """The column names of a data frame.

    Args:
        table: Any object.

    Returns:
        The names; None if it is no data frame, or not all names are strings.
    """
    columns = getattr(table, "columns", None)
    try:
        names = tuple(columns) if columns is not None else ()
    except TypeError:
        return None
    return names if names and all(isinstance(name, str) for name in names) else None


def check_column_names(known: tuple[str, ...] | None, given: tuple[str, ...] | None, classifier: str) -> None:
    """Compare the column names of a table with those learned before. A warning says so if only one of them has names.

    Args:
        known: The names learned before, or None.
        given: The names of the table, or None.
        classifier: The name of the class that learned them, for messages.

    Raises:
        ValueError: The names differ, or their order does.
    """
    if known is None and given is None:
        return
    if given is None:
        warnings.warn(f"X does not have valid feature names, but {classifier} was fitted with feature names", stacklevel=6)
    elif known is None:
        warnings.warn(f"X has feature names, but {classifier} was fitted without feature names", stacklevel=6)
    elif set(given) != set(known):
        raise ValueError(f"{_MISMATCH}\nUnseen or missing: {', '.join(sorted(set(given) ^ set(known))[:5])}")
    elif given != known:
        raise ValueError(f"{_MISMATCH}\nThey must be in the same order as they were in fit.")
