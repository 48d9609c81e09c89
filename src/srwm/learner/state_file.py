"""What a learner has learned, in a file: the state as safetensors, the rest as JSON in its metadata."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Size, Tensor

from srwm.errors import UserError
from srwm.fewshot.models.sequence import FewShotModel
from srwm.files import write_atomically
from srwm.learner.labels import Labels
from srwm.learner.state import MAX_SEED, LearnerState
from srwm.nn import State, leaves
from srwm.nn.checks import check_state
from srwm.nn.state import Shape

_FORMAT = 2
_MAX_COUNT = 2**62


def save_state(path: Path, memory: LearnerState) -> None:
    """Write what was learned, without the model, atomically.

    Raises UserError where it cannot be written, ValueError where nothing was learned or labels are not texts or numbers.
    """
    if memory.labels is None:
        raise ValueError("memory: expected one that was shown labeled images, got a fresh one")
    if memory.labels.dtype.kind not in "biufU":
        raise ValueError(f"labels: expected texts, numbers or bools, which alone can be saved, got {memory.labels.dtype}")
    metadata = {
        "format": _FORMAT,
        "model": _fingerprint(memory.model),
        "preprocess": memory.preprocess,
        "readings": memory.readings,
        "seed": memory.seed,
        "count": memory.count,
        "columns": memory.columns,
        "labels": memory.labels.tolist(),
        "declared": None if memory.declared is None else memory.declared.tolist(),
        "dtype": memory.labels.dtype.str,
        "declared_dtype": None if memory.declared is None else memory.declared.dtype.str,
    }
    tensors = {f"state.{i}": part.cpu().contiguous() for i, part in enumerate(leaves(memory.state))}
    metadata["digest"] = _digest(metadata, tensors)
    try:
        write_atomically(path, safetensors.torch.save(tensors, {"srwm": json.dumps(metadata)}))
    except OSError as error:
        raise UserError(f"cannot save {path}: {error.strerror or error}") from error


def load_state(path: Path, fresh: LearnerState) -> LearnerState:
    """What an equal model learned before; of `fresh`, model and preprocessing are kept.

    Raises UserError where the file is missing, corrupt, or of another model or preprocessing.
    """
    tensors, metadata = _read(path)
    if metadata.get("format") != _FORMAT:
        raise UserError(f"{path}: not what a learner of this version of srwm saved")
    digest = metadata.pop("digest", None)
    if digest is not None and digest != _digest(metadata, tensors):
        raise UserError(f"{path}: damaged, it is not what was saved")
    if metadata.get("model") != _fingerprint(fresh.model) or metadata.get("preprocess") != fresh.preprocess:
        raise UserError(f"{path}: learned by another model, or with another preprocessing than {fresh.preprocess!r}")
    try:
        memory = _restored(metadata, tensors, fresh)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a state of this model ({error})") from error
    return memory


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("srwm", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not readable as what a learner saved ({error})") from error
    return tensors, metadata if isinstance(metadata, dict) else {}


def _restored(metadata: dict[str, Any], tensors: dict[str, Tensor], fresh: LearnerState) -> LearnerState:
    readings, seed, count = (int(metadata[name]) for name in ("readings", "seed", "count"))
    if not (readings >= 1 and 0 <= seed < MAX_SEED and 0 <= count < _MAX_COUNT):
        raise ValueError(
            f"readings, seed, count: expected numbers from 1, 0 and 0, below {MAX_SEED} and {_MAX_COUNT}, "
            f"got {readings}, {seed} and {count}"
        )
    columns = None if metadata["columns"] is None else int(metadata["columns"])
    labels = _labels(metadata["labels"], metadata["dtype"])
    declared = None if metadata["declared"] is None else np.unique(_labels(metadata["declared"], metadata["declared_dtype"]))
    parts = iter([tensors[f"state.{i}"].to(fresh.device, copy=True) for i in range(len(tensors))])
    shape = fresh.model.stack.state_shape
    state = _shaped(parts, shape)
    check_state(state, shape, readings)
    expected = [part.dtype for part in leaves(fresh.model.stack.initial_state(1))]
    if next(parts, None) is not None or [part.dtype for part in leaves(state)] != expected:
        raise ValueError(f"state: expected tensors {expected}")
    if not all(part.isfinite().all() for part in leaves(state)):
        raise ValueError("state: expected finite numbers, got NaN or infinity")
    loaded = replace(
        fresh, readings=readings, seed=seed, state=state, labels=labels, declared=declared, count=count, columns=columns
    )
    distinct = len(np.unique(labels))
    if not 1 <= distinct == len(labels) <= len(loaded.classes) <= fresh.model.config.n_way:
        raise ValueError(f"labels: expected 1 to {fresh.model.config.n_way} different ones, got {labels.tolist()}")
    if not np.isin(labels, loaded.classes).all():
        raise ValueError(f"labels: expected those of {loaded.classes.tolist()}, got {labels.tolist()}")
    return loaded


def _labels(values: object, dtype: object) -> Labels:
    kind = np.dtype(str(dtype))
    if kind.kind not in "biufU" or not isinstance(values, list) or not all(isinstance(v, str | int | float) for v in values):
        raise ValueError(f"labels: expected texts, numbers or bools, got {values} as {dtype}")
    if any(isinstance(value, str) != (kind.kind == "U") for value in values):
        raise ValueError(f"labels: expected {dtype}, got {values}")
    return np.array(values) if kind.kind == "U" else np.array(values, dtype=kind)


def _fingerprint(model: FewShotModel) -> str:
    """Equal for models that compute the same: configuration, but for the backend, and weights."""
    return _digest(asdict(replace(model.config, stack=replace(model.config.stack, backend="auto"))), model.state_dict())


def _digest(metadata: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _shaped(parts: Iterator[Tensor], shape: Shape) -> State:
    if isinstance(shape, Size):
        part = next(parts, None)
        if part is None:
            raise ValueError("state: tensors are missing")
        return part
    return tuple(_shaped(parts, inner) for inner in shape)
