"""Names and values of features as short texts that are the same in every process, and numbers derived from them."""

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LONGEST = 64
_MARK = "\0"


def token(value: object) -> str:
    """A short text for a name or a category. Equal values have equal texts: 1, 1.0, True and `numpy.int64(1)` do.

    Args:
        value: Any hashable value. One whose `repr` shows its address has another text in another process.

    Returns:
        The value itself if it is a string of at most 64 characters, else a text of at most 64 characters that starts with a
        null character. Long values become a digest, so that nothing large is kept.

    Raises:
        TypeError: The value is not hashable.
    """
    if type(value) is str and len(value) <= _LONGEST and not value.startswith(_MARK):
        return value
    hash(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        kind, text = "str", str(value)
        if len(text) <= _LONGEST and not text.startswith(_MARK):
            return text
    elif isinstance(value, bool | int | float):
        kind, text = "number", repr(int(value) if _is_whole(value) else value)
    else:
        kind, text = f"{type(value).__module__}.{type(value).__qualname__}", repr(value)
    whole = f"{_MARK}{kind}:{text}"
    return whole if kind == "number" and len(whole) <= _LONGEST else _MARK + _digest(whole, 16).hex()


def stable_hash(text: str) -> int:
    """A hash of 64 bits that is the same in every process, on every machine and in every version of Python.

    Args:
        text: Any text.

    Returns:
        A number from 0 to 2**64 - 1.
    """
    return int.from_bytes(_digest(text, 8), "little")


def gaussian_row(text: str, width: int) -> NDArray[np.float32]:
    """Normal random numbers that depend on a text alone.

    They are made from SHAKE-128 by the Box-Muller transform, since numpy may change its own generators from version to version.

    Args:
        text: The seed.
        width: How many numbers.

    Returns:
        (width,), independent, of mean 0 and variance 1.
    """
    bits = np.frombuffer(hashlib.shake_128(_encoded(text)).digest(8 * width), "<u4").reshape(2, width)
    radius, angle = (bits + 0.5) / 2.0**32
    row: NDArray[np.float32] = (np.sqrt(-2 * np.log(radius)) * np.cos(2 * math.pi * angle)).astype(np.float32)
    return row


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) or value.is_integer()


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(_encoded(text), digest_size=size).digest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
