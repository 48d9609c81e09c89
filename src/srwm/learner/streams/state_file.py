"""Files of what `StreamClassifier` learned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srwm.errors import UserError
from srwm.learner.fingerprint import stream_fingerprint
from srwm.learner.saved import (
    MAX_COUNT,
    check_labels,
    check_saveable,
    read_saved,
    restored_labels,
    restored_names,
    restored_state,
    state_tensors,
    write_saved,
)
from srwm.learner.streams.encoder import MAX_FEATURES, MAX_VALUES, Encoder
from srwm.learner.streams.projection import MEMORY, STATISTICS
from srwm.learner.streams.state import LearnedStream
from srwm.learner.streams.values import Key
from srwm.streams.model import StreamState

_FORMAT = "streams-1"
_ENCODER = "encoder.statistics"


def save_state(path: Path, learned: LearnedStream) -> None:
    """Write a learned state, without the model, atomically.

    Args:
        path: The file; a link, a folder, a pipe or a device in its place is refused.
        learned: The state.

    Raises:
        UserError: The file cannot be written.
        ValueError: Nothing was learned, or labels are not strings, numbers or bools.
    """
    labels, declared = learned.classes.labels, learned.classes.declared
    if labels is None:
        raise ValueError("state: expected one with learned samples, got a fresh one")
    check_saveable(labels)
    metadata: dict[str, Any] = {
        "format": _FORMAT,
        "model": stream_fingerprint(learned.model),
        "count": learned.count,
        "columns": learned.columns,
        "feature_names": learned.feature_names,
        "labels": labels.tolist(),
        "declared": None if declared is None else declared.tolist(),
        "dtype": labels.dtype.str,
        "declared_dtype": None if declared is None else declared.dtype.str,
        "num_direct": learned.encoder.num_direct,
        "features": learned.encoder.keys,
    }
    write_saved(path, metadata, {**state_tensors(learned.model_state), **_statistics(learned.encoder)})


def load_state(path: Path, fresh: LearnedStream) -> LearnedStream:
    """Read a state that an equal model learned.

    Args:
        path: The file.
        fresh: A fresh state, whose model is kept.

    Returns:
        The state that was saved, on the model's device.

    Raises:
        UserError: The file is missing, corrupt, or of another model.
    """
    metadata, tensors = read_saved(path, "StreamClassifier", (_FORMAT,))
    if metadata.get("model") != stream_fingerprint(fresh.model):
        raise UserError(f"{path}: learned by another model")
    try:
        return _restored(metadata, tensors, fresh)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a state of this model ({error})") from error


def _statistics(encoder: Encoder) -> dict[str, Tensor]:
    if encoder.projection is None:
        return {}
    return {_ENCODER: torch.from_numpy(np.stack([getattr(encoder.projection, name) for name in STATISTICS]))}


def _restored(metadata: dict[str, Any], tensors: dict[str, Tensor], fresh: LearnedStream) -> LearnedStream:
    count = int(metadata["count"])
    columns = None if metadata["columns"] is None else int(metadata["columns"])
    if not (1 <= count < MAX_COUNT and (columns is None or 1 <= columns < MAX_COUNT)):
        raise ValueError(f"count, columns: expected numbers from 1 below {MAX_COUNT}, got {count} and {columns}")
    labels, declared = restored_labels(metadata["labels"], metadata["dtype"]), metadata["declared"]
    if declared is not None:
        declared = np.unique(restored_labels(declared, metadata["declared_dtype"]))
    classes = replace(fresh.classes, labels=labels, declared=declared)
    check_labels(labels, classes.sorted, classes.limit)
    names = restored_names(metadata["feature_names"])
    if names is not None and len(names) != columns:
        raise ValueError(f"feature_names: expected {columns}, got {len(names)}")
    encoder = _encoder(metadata["features"], metadata["num_direct"], tensors.pop(_ENCODER, None), fresh.encoder.num_slots)
    state = restored_state(tensors, fresh.model_state, batch_size=1)
    if isinstance(state, StreamState):
        fresh.model.check_state(state)
    return replace(fresh, encoder=encoder, classes=classes, state=state, count=count, columns=columns, feature_names=names)


def _encoder(features: object, num_direct: object, statistics: Tensor | None, num_slots: int) -> Encoder:
    if num_direct not in (0, num_slots) or isinstance(num_direct, bool):
        raise ValueError(f"num_direct: expected 0 or {num_slots}, got {num_direct!r}")
    encoder = Encoder(num_slots).extended(_keys(features), int(num_direct))
    if len(encoder.keys) != encoder.num_places or any(len(known) > MAX_VALUES for known in encoder.values.values()):
        raise ValueError(f"features: expected different ones, and {MAX_VALUES} values of each or fewer")
    if encoder.projection is None:
        if statistics is not None:
            raise ValueError(f"{_ENCODER}: expected none, got some")
        return encoder
    shape = (len(STATISTICS), encoder.num_places)
    if statistics is None or statistics.dtype is not torch.float64 or tuple(statistics.shape) != shape:
        raise ValueError(f"{_ENCODER}: expected float64 {shape}")
    values = dict(zip(STATISTICS, statistics.numpy().copy(), strict=True))
    highest = {"count": MEMORY, "age": MEMORY, "rate": 1.0}
    for name, row in values.items():
        if not np.isfinite(row).all() or (name != "mean" and row.min() < 0) or row.max() > highest.get(name, np.inf):
            raise ValueError(f"{_ENCODER}: {name} is out of its range")
    return replace(encoder, projection=replace(encoder.projection, **values))


def _keys(features: object) -> list[Key]:
    if not isinstance(features, list) or len(features) > MAX_FEATURES:
        raise ValueError(f"features: expected a list of {MAX_FEATURES} or fewer")
    for pair in features:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"features: expected pairs of names and values, got {pair!r}")
        name, value = pair
        if not isinstance(name, str) or not isinstance(value, str | None):
            raise ValueError(f"features: expected texts, got {pair!r}")
    if len({tuple(pair) for pair in features}) < len(features):
        raise ValueError("features: expected different ones, got some twice")
    return [(name, value) for name, value in features]
