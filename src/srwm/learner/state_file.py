"""Files of what `FewShotLearner` learned."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srwm.errors import UserError
from srwm.learner.fingerprint import fingerprint, former_fingerprint
from srwm.learner.heads import chosen_head, most_classes
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
from srwm.learner.state import MAX_SEED, LearnerState
from srwm.learner.unknown import ClassExamples

_FORMAT = 3
_FORMER_FORMAT = 2
_SUMS, _COUNTS = "examples.sums", "examples.counts"
_FORMATS = (_FORMAT, _FORMER_FORMAT)


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
    check_saveable(learned.labels)
    metadata: dict[str, Any] = {
        "format": _FORMAT,
        "model": fingerprint(learned.model),
        "preprocess": learned.preprocess,
        "head": learned.head,
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
    write_saved(
        path, metadata, ({} if learned.state is None else state_tensors(learned.state)) | _example_tensors(learned.examples)
    )


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
    metadata, tensors = read_saved(path, "FewShotLearner", _FORMATS, unsigned=_FORMATS)
    version = metadata["format"]
    of_model = fingerprint(fresh.model) if version == _FORMAT else former_fingerprint(fresh.model)
    if metadata.get("model") != of_model or metadata.get("preprocess") != fresh.preprocess:
        raise UserError(
            f"{path}: learned by another model, such as the `characters` of an earlier version of srwm, or with another "
            f"preprocessing than {fresh.preprocess!r}: learn the examples again, and save them to a new file"
        )
    if version == _FORMER_FORMAT and "readings" in metadata:
        metadata["tta_passes"] = metadata.pop("readings")
    try:
        return _restored(metadata, tensors, fresh)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a state of this model ({error})") from error


def _example_tensors(examples: ClassExamples | None) -> dict[str, Tensor]:
    if examples is None:
        return {}
    return {_SUMS: examples.sums.cpu().contiguous(), _COUNTS: examples.counts.cpu().contiguous()}


def _restored_examples(tensors: dict[str, Tensor], fresh: LearnerState, tta_passes: int, n_way: int) -> ClassExamples | None:
    """The examples among the tensors of a file, which are taken out; None in a file without them."""
    found = [tensors.pop(name) for name in (_SUMS, _COUNTS) if name in tensors]
    if not found:
        return None
    width = fresh.model.num_features
    if [(part.shape, part.dtype) for part in found] != [((tta_passes, n_way, width), torch.float32), ((n_way,), torch.float32)]:
        raise ValueError(f"examples: expected {_SUMS} and {_COUNTS} of {n_way} classes, got {[tuple(p.shape) for p in found]}")
    if not all(part.isfinite().all() and part.min() >= least for part, least in zip(found, (-math.inf, 0), strict=True)):
        raise ValueError("examples: expected finite sums and counts from 0, got others")
    sums, counts = (part.to(fresh.device, copy=True) for part in found)
    return ClassExamples(sums, counts)


def _restored(metadata: dict[str, Any], tensors: dict[str, Tensor], fresh: LearnerState) -> LearnerState:
    tta_passes, seed, count = (int(metadata[name]) for name in ("tta_passes", "seed", "count"))
    if not (tta_passes >= 1 and 0 <= seed < MAX_SEED and 0 <= count < MAX_COUNT):
        raise ValueError(
            f"tta_passes, seed, count: expected numbers from 1, 0 and 0, below {MAX_SEED} and {MAX_COUNT}, "
            f"got {tta_passes}, {seed} and {count}"
        )
    columns = None if metadata["columns"] is None else int(metadata["columns"])
    labels = restored_labels(metadata["labels"], metadata["dtype"])
    declared = metadata["declared"]
    if declared is not None:
        declared = np.unique(restored_labels(declared, metadata["declared_dtype"]))
    head = chosen_head(fresh.model, metadata.get("head", "memory"))
    examples = _restored_examples(tensors, fresh, tta_passes, len(labels))
    if examples is None and head != "memory":
        raise ValueError(f"examples: expected {_SUMS} and {_COUNTS} with the head {head}, got neither")
    memory = None if head == "prototypes" else restored_state(tensors, fresh.model.stack.initial_state(1), tta_passes)
    loaded = replace(
        fresh,
        examples=examples,
        tta_passes=tta_passes,
        seed=seed,
        state=memory,
        head=head,
        labels=labels,
        declared=declared,
        count=count,
        columns=columns,
        feature_names=restored_names(metadata.get("feature_names")),
    )
    check_labels(labels, loaded.classes, most_classes(fresh.model, head))
    return loaded
