"""Conversion of labels from users to the label indices of a model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from srwm.learner.tables import tensor_to_array

Labels = NDArray[Any]

_SCALARS = (str, bytes, bool, int, float, np.generic)


def read_labels(labels: object, name: str = "labels") -> Labels:
    """Convert labels to an array.

    Args:
        labels: One for each sample, or a single label.
        name: The argument's name, for messages.

    Returns:
        The labels (n,), of the type that numpy gives them; n = 1 for a single label.

    Raises:
        ValueError: Labels have another shape, are NaN or None, mix strings with numbers, or numpy would change them: integers
            too large for a common type, strings that end in a null character.
    """
    if isinstance(labels, Tensor):
        labels = tensor_to_array(labels, name)
    given = [labels] if isinstance(labels, _SCALARS) else labels
    try:
        array = np.asarray(given)
    except Exception as error:  # what other libraries' arrays raise when they are converted
        raise ValueError(f"{name}: expected one label per sample, (n,), got {type(labels).__name__} ({error})") from error
    if array.ndim == 0:
        array = array[None]
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one label per sample, (n,), got {array.shape}")
    members = [_plain(each) for each in given] if isinstance(given, list | tuple) else array.tolist()
    texts = sum(isinstance(member, str) for member in members)
    if array.dtype == object and texts == len(members):
        array = np.array(members, dtype=str)
    elif array.dtype == object and not texts:
        array = np.array(members)  # numbers in a column of any objects, as data frames have them
    if array.dtype == object and all(isinstance(member, int) for member in members):
        raise ValueError(f"{name}: expected whole numbers from -2**63 to 2**64 - 1, got {min(members)} to {max(members)}")
    if array.dtype.kind not in "biufUSM" or (array.dtype.kind == "U" and texts < len(members)):
        raise ValueError(f"{name}: expected texts alone or numbers alone, got {sorted({type(m).__name__ for m in members})}")
    if array.dtype.kind in "fM" and not np.isfinite(array).all():
        raise ValueError(f"{name}: expected no missing values, got NaN, NaT or infinity")
    for kept, member in zip(array.tolist(), members, strict=True) if array.dtype.kind in "biufUS" else ():
        if kept != member:
            raise ValueError(f"{name}: {member!r} becomes {kept!r} as {array.dtype}; use other labels")
    return array


def join_labels(known: Labels | None, labels: Labels) -> Labels:
    """Add new labels to the known ones.

    Args:
        known: The labels so far (k,), or None.
        labels: Labels (n,), some of them new.

    Returns:
        The known labels, then the new ones in order of appearance.

    Raises:
        ValueError: Strings would be mixed with numbers, or numbers are too large for a common type.
    """
    if known is None or not len(known):
        known = labels[:0]
    if _kind(known) != _kind(labels):
        raise ValueError(f"labels: expected {_kind(known)}, as before, got {_kind(labels)}")
    fresh, first = np.unique(labels, return_index=True)
    new = labels[np.sort(first[~np.isin(fresh, known)])]
    both: Labels = np.concatenate([known, new])
    if len(np.unique(both)) < len(np.unique(known)) + len(new):
        raise ValueError(f"labels: some are equal when {known.dtype} and {labels.dtype} become {both.dtype}")
    if _kind(both) == "numbers" and both.tolist() != [*known.tolist(), *new.tolist()]:
        raise ValueError(f"labels: some change when {known.dtype} and {labels.dtype} become {both.dtype}")
    return both


def with_unknown(classes: Labels, unknown: object) -> Labels:
    """The answers of a learner that may say that an image is of none of its classes.

    Args:
        classes: Labels (k,).
        unknown: The answer for images of none.

    Returns:
        (k + 1,), of the type of the labels where `unknown` is of their kind, else objects.

    Raises:
        ValueError: `unknown` is one of the labels, or no single label.
    """
    label = read_labels(unknown, "unknown")
    if len(label) != 1:
        raise ValueError(f"unknown: expected one label, got {len(label)}")
    if _kind(classes) != _kind(label) or (label.dtype.kind == "b") != (classes.dtype.kind == "b"):
        answers = np.empty(len(classes) + 1, dtype=object)
        answers[:] = [*classes.tolist(), *label.tolist()]
        return answers
    answers = join_labels(classes, label)
    if len(answers) == len(classes):
        raise ValueError(f"unknown: expected a label that was not learned, got {label[0].item()!r}")
    return answers


def positions(labels: Labels, known: Labels) -> NDArray[np.int64]:
    """The index of each label among the known ones.

    Args:
        labels: Labels (n,).
        known: The known labels (k,), which include all of them.

    Returns:
        (n,) int64.
    """
    order = np.argsort(known)
    return np.asarray(order[np.searchsorted(known, labels, sorter=order)], dtype=np.int64)


def _plain(label: object) -> object:
    """A scalar of numpy as Python's own number, which compares exactly: numpy compares large integers with floats as floats."""
    return label.item() if isinstance(label, np.integer | np.bool_) else label


def _kind(labels: Labels) -> str:
    kind: str = labels.dtype.kind
    return {"U": "texts", "S": "bytes", "M": "dates"}.get(kind, "numbers")
