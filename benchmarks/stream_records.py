"""The answers of learners along streams, one JSON line for each learner, stream and seed."""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srwm.streams.prequential import PrequentialResult

PREFIXES = (200, 500, 1_000, 5_000)
"""Samples from the start over which accuracies are given."""
FILE = "answers.jsonl"


class Key(NamedTuple):
    """What a line is of."""

    learner: str
    stream: str
    seed: int


def record(key: Key, result: PrequentialResult, origin: Mapping[str, Any]) -> dict[str, Any]:
    """A line: the right answers as bits, kappa over each prefix, CPU time, and where it was made."""
    return {
        **key._asdict(),
        "samples": len(result.correct),
        "correct": base64.b64encode(np.packbits(result.correct).tobytes()).decode(),
        "kappa": {str(first): round(result.kappa(first), 6) for first in PREFIXES},
        "seconds_per_sample": result.seconds_per_sample,
        **origin,
    }


def correct_of(line: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The right answers of a line, (T,)."""
    packed = np.frombuffer(base64.b64decode(line["correct"]), dtype=np.uint8)
    return np.unpackbits(packed, count=line["samples"]).astype(bool)


def append(folder: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Add lines to the file of a folder, each by one write, flushed to the disk.

    A line that was cut when a process was killed is ended first, so that the next one begins anew; `read` leaves it out.
    """
    path = folder / FILE
    written = path.read_bytes() if path.exists() else b""
    with path.open("ab", buffering=0) as file:
        if written and not written.endswith(b"\n"):
            file.write(b"\n")
        for line in lines:
            file.write(json.dumps(line).encode() + b"\n")
            os.fsync(file.fileno())


def read(folder: Path) -> dict[Key, dict[str, Any]]:
    """The lines of a folder; of several with the same key, the last."""
    path = folder / FILE
    found = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        found[Key(line["learner"], line["stream"], line["seed"])] = line
    return found
