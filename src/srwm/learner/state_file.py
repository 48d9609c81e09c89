"""Files of learned states: tensors as safetensors, everything else as JSON in the metadata."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Size, Tensor

from srwm.errors import UserError
from srwm.files import write_atomically
from srwm.learner.fingerprint import digest, fingerprint, former_fingerprint
from srwm.learner.labels import Labels
from srwm.learner.safe_file import read_file, read_header, read_tensors
from srwm.learner.state import MAX_SEED, LearnerState
from srwm.nn import State, leaves
from srwm.nn.checks import check_state
from srwm.nn.state import Shape

_FORMAT = 3
_FORMER_FORMAT = 2
_DTYPE = re.compile(r"[<>=|]?[biufU]\d+")
_MAX_COUNT = 2**62


def save_state(path: Path, learned: LearnerState) -> None:
    """Write a learned state, without the model, atomically.

    Args:
        path: The file; a link, a folder, a pipe or a device in its place is refused.
        learned: The state.

    Raises:
        UserError: The file cannot be written.
        ValueError: Nothing was learned, or labels are not strings, numbers or bools.
    """
    if learned.labels is None:
        raise ValueError("state: expected one with learned images, got a fresh one")
    if learned.labels.dtype.kind not in "biufU":
        raise ValueError(f"labels: expected texts, numbers or bools, which alone can be saved, got {learned.labels.dtype}")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserError(f"cannot save {path}: expected the name of a file, it is a link, a folder, a pipe or a device")
    metadata: dict[str, Any] = {
        "format": _FORMAT,
        "model": fingerprint(learned.model),
        "preprocess": learned.preprocess,
        "tta_passes": learned.tta_passes,
        "seed": learned.seed,
        "count": learned.count,
        "columns": learned.columns,
        "feature_names": learned.feature_names,
        "labels": learned.labels.tolist(),
        "declared": None if learned.declared is None else learned.declared.tolist(),
        "dtype": learned.labels.dtype.str,
        "declared_dtype": None if learned.declared is None else learned.declared.dtype.str,
    }
    tensors = {f"state.{i}": part.cpu().contiguous() for i, part in enumerate(leaves(learned.state))}
    metadata["digest"] = digest(metadata, tensors)
    try:
        write_atomically(path, safetensors.torch.save(tensors, {"srwm": json.dumps(metadata)}))
    except OSError as error:
        raise UserError(f"cannot save {path}: {error.strerror or error}") from error


def load_state(path: Path, fresh: LearnerState) -> LearnerState:
    """Read a state that an equal model learned.

    Args:
        path: A file of this version or of the version before (format 2).
        fresh: A state whose model and preprocessing are kept.

    Returns:
        The state that was saved, on the model's device.

    Raises:
        UserError: The file is missing, corrupt, or of another model or preprocessing.
    """
    tensors, metadata = _read(path)
    version = metadata.get("format")
    if version not in (_FORMAT, _FORMER_FORMAT):
        raise UserError(f"{path}: not saved by a FewShotLearner of this version of srwm")
    kept = metadata.pop("digest", None)
    if kept is not None and kept != digest(metadata, tensors):
        raise UserError(f"{path}: damaged, it has changed since it was saved")
    of_model = fingerprint(fresh.model) if version == _FORMAT else former_fingerprint(fresh.model)
    if metadata.get("model") != of_model or metadata.get("preprocess") != fresh.preprocess:
        hint = "" if version == _FORMAT else "; an earlier version of srwm saved it: if the model is the same, learn again"
        raise UserError(f"{path}: learned by another model, or with another preprocessing than {fresh.preprocess!r}{hint}")
    if version == _FORMER_FORMAT and "readings" in metadata:
        metadata["tta_passes"] = metadata.pop("readings")
    try:
        return _restored(metadata, tensors, fresh)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a state of this model ({error})") from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        data = read_file(path)
        header, tensors = read_header(data), read_tensors(data)
        metadata = json.loads(header.get("__metadata__", {}).get("srwm", "null"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as a saved learner ({error})") from error
    return tensors, metadata if isinstance(metadata, dict) else {}


def _restored(metadata: dict[str, Any], tensors: dict[str, Tensor], fresh: LearnerState) -> LearnerState:
    tta_passes, seed, count = (int(metadata[name]) for name in ("tta_passes", "seed", "count"))
    if not (tta_passes >= 1 and 0 <= seed < MAX_SEED and 0 <= count < _MAX_COUNT):
        raise ValueError(
            f"tta_passes, seed, count: expected numbers from 1, 0 and 0, below {MAX_SEED} and {_MAX_COUNT}, "
            f"got {tta_passes}, {seed} and {count}"
        )
    columns = None if metadata["columns"] is None else int(metadata["columns"])
    labels = _labels(metadata["labels"], metadata["dtype"])
    declared = None if metadata["declared"] is None else np.unique(_labels(metadata["declared"], metadata["declared_dtype"]))
    parts = iter([tensors[f"state.{i}"].to(fresh.device, copy=True) for i in range(len(tensors))])
    shape = fresh.model.stack.state_shape
    state = _shaped(parts, shape)
    check_state(state, shape, tta_passes)
    expected = [part.dtype for part in leaves(fresh.model.stack.initial_state(1))]
    if next(parts, None) is not None or [part.dtype for part in leaves(state)] != expected:
        raise ValueError(f"state: expected tensors {expected}")
    if not all(part.isfinite().all() for part in leaves(state)):
        raise ValueError("state: expected finite numbers, got NaN or infinity")
    loaded = replace(
        fresh,
        tta_passes=tta_passes,
        seed=seed,
        state=state,
        labels=labels,
        declared=declared,
        count=count,
        columns=columns,
        feature_names=_names(metadata.get("feature_names")),
    )
    distinct = len(np.unique(labels))
    if not 1 <= distinct == len(labels) <= len(loaded.classes) <= fresh.model.config.n_way:
        raise ValueError(f"labels: expected 1 to {fresh.model.config.n_way} different ones, got {labels.tolist()}")
    if not np.isin(labels, loaded.classes).all():
        raise ValueError(f"labels: expected those of {loaded.classes.tolist()}, got {labels.tolist()}")
    return loaded


def _names(values: object) -> tuple[str, ...] | None:
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"feature_names: expected texts, got {values}")
    return tuple(values)


def _labels(values: object, dtype: object) -> Labels:
    if not _DTYPE.fullmatch(str(dtype)):
        raise ValueError(f"dtype: expected that of texts, numbers or bools, got {dtype!r}")
    kind = np.dtype(str(dtype))
    if not isinstance(values, list) or not all(isinstance(v, str | int | float) for v in values):
        raise ValueError(f"labels: expected texts, numbers or bools, got {values} as {dtype}")
    if any(isinstance(value, str) != (kind.kind == "U") for value in values):
        raise ValueError(f"labels: expected {dtype}, got {values}")
    return np.array(values) if kind.kind == "U" else np.array(values, dtype=kind)


def _shaped(parts: Iterator[Tensor], shape: Shape) -> State:
    if isinstance(shape, Size):
        part = next(parts, None)
        if part is None:
            raise ValueError("state: tensors are missing")
        return part
    return tuple(_shaped(parts, inner) for inner in shape)
