"""Files of what classifiers learned: tensors as safetensors, everything else as JSON in the metadata, a digest over both."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from srwm.errors import UserError
from srwm.files import write_atomically
from srwm.learner.fingerprint import digest
from srwm.learner.labels import Labels
from srwm.learner.safe_file import read_file, read_header, read_tensors
from srwm.nn.state import State, leaves

MAX_COUNT = 2**62
"""Files with larger counts are refused."""
_DTYPE = re.compile(r"[<>=|]?[biufU]\d+")


def write_saved(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a file, atomically.

    Args:
        path: The file; a link, a folder, a pipe or a device in its place is refused.
        metadata: What JSON can represent, `format` included.
        tensors: Tensors by name.

    Raises:
        UserError: The file cannot be written.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"cannot save {path}: expected the name of a file, it is a link, a folder, a pipe or a device")
    content = {**metadata, "digest": digest(metadata, tensors)}
    try:
        write_atomically(path, safetensors.torch.save(dict(tensors), {"srwm": json.dumps(content)}))
    except OSError as error:
        raise UserError(f"cannot save {path}: {error.strerror or error}") from error


def read_saved(
    path: Path, classifier: str, formats: Collection[int | str], *, unsigned: Collection[int | str] = ()
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a file that `write_saved` wrote, and check its digest.

    Args:
        path: The file.
        classifier: The name of the class that reads it, for messages.
        formats: Values of `format` that it reads.
        unsigned: Those of them whose files may lack a digest.

    Returns:
        The metadata, and the tensors by name.

    Raises:
        UserError: The file is missing, damaged, or has another format.
    """
    try:
        data = read_file(path)
        header, tensors = read_header(data), read_tensors(data)
        metadata = json.loads(header.get("__metadata__", {}).get("srwm", "null"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as a saved learner ({error})") from error
    if not isinstance(metadata, dict) or metadata.get("format") not in formats:
        raise UserError(f"{path}: not saved by a {classifier} of this version of srwm")
    kept = metadata.pop("digest", None)
    if kept != digest(metadata, tensors) and not (kept is None and metadata["format"] in unsigned):
        raise UserError(f"{path}: damaged, it has changed since it was saved")
    return metadata, tensors


def check_saveable(labels: Labels) -> None:
    """Check that JSON can represent labels.

    Args:
        labels: The labels.

    Raises:
        ValueError: They are not strings, numbers or bools.
    """
    if labels.dtype.kind not in "biufU":
        raise ValueError(f"labels: expected texts, numbers or bools, which alone can be saved, got {labels.dtype}")


def state_tensors(state: State) -> dict[str, Tensor]:
    """The tensors of a model's state, by the names that `restored_state` expects."""
    return {f"state.{i}": part.cpu().contiguous() for i, part in enumerate(leaves(state))}


def restored_state(tensors: Mapping[str, Tensor], like: State, batch_size: int) -> State:
    """A model's state from the tensors of a file.

    Args:
        tensors: `state_tensors`, and no others.
        like: A state of the model with the shapes and dtypes to expect, for any number of batch elements, on the device wanted.
        batch_size: Number of batch elements.

    Returns:
        The state.

    Raises:
        ValueError: The tensors have other names, shapes or dtypes, or numbers that are not finite.
    """
    expected = [f"state.{i}" for i in range(len(leaves(like)))]
    if sorted(tensors) != sorted(expected):
        raise ValueError(f"state: expected {len(expected)} tensors, got {len(tensors)}: {', '.join(sorted(tensors)[:3])}")
    names = iter(expected)

    def restored(part: State) -> State:
        if not isinstance(part, Tensor):
            inner = [restored(each) for each in part]
            return type(part)(*inner) if hasattr(part, "_fields") else tuple(inner)
        name = next(names)
        found, shape = tensors[name], (batch_size, *part.shape[1:])
        if found.shape != shape or found.dtype is not part.dtype:
            raise ValueError(f"{name}: expected {part.dtype} {shape}, got {found.dtype} {tuple(found.shape)}")
        if not found.isfinite().all():
            raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
        return found.to(part.device, copy=True)

    return restored(like)


def restored_names(values: object) -> tuple[str, ...] | None:
    """Names of columns from a file.

    Args:
        values: A list of strings, or None.

    Returns:
        The names, or None.

    Raises:
        ValueError: It is something else.
    """
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"feature_names: expected texts, got {values}")
    return tuple(values)


def restored_labels(values: object, dtype: object) -> Labels:
    """Labels from a file.

    Args:
        values: A list of labels.
        dtype: The name of their numpy dtype.

    Returns:
        The labels (n,).

    Raises:
        ValueError: They are neither strings nor numbers nor bools, or not of this dtype.
    """
    if not _DTYPE.fullmatch(str(dtype)):
        raise ValueError(f"dtype: expected that of texts, numbers or bools, got {dtype!r}")
    kind = np.dtype(str(dtype))
    if not isinstance(values, list) or not all(isinstance(v, str | int | float) for v in values):
        raise ValueError(f"labels: expected texts, numbers or bools, got {values} as {dtype}")
    if any(isinstance(value, str) != (kind.kind == "U") for value in values):
        raise ValueError(f"labels: expected {dtype}, got {values}")
    return np.array(values) if kind.kind == "U" else np.array(values, dtype=kind)


def check_labels(labels: Labels, classes: Labels, limit: int) -> None:
    """Check that labels from a file can be those of a model.

    Args:
        labels: The learned labels (n,).
        classes: All classes, sorted.
        limit: The model's number of classes.

    Raises:
        ValueError: They are none, too many, not distinct, or not among the classes.
    """
    if not 1 <= len(np.unique(labels)) == len(labels) <= len(classes) <= limit:
        raise ValueError(f"labels: expected 1 to {limit} different ones, got {labels.tolist()}")
    if not np.isin(labels, classes).all():
        raise ValueError(f"labels: expected those of {classes.tolist()}, got {labels.tolist()}")
