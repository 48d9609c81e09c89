"""Pickles of arrays and plain containers, read without running code from them and in bounded time and memory.

A pickle names functions of any installed module and calls them. Here every name that numbers and containers need stands for a
small function of this file, and any other is refused. NumPy's own reconstruction is not called either: a forged state of a
dtype could make it take bytes of the file for pointers. The opcodes are those of `pickle_machine`.
"""

import os
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.data.io.pickle_machine import Machine
from srwm.data.io.regular import open_regular
from srwm.errors import UserError

_DAMAGE = (OSError, ValueError, TypeError, LookupError)
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_ORDERS = ("<", ">", "|", "=", b"<", b">", b"|", b"=")
_SCALARS = (str, bytes, bytearray, int, float, set, frozenset, type(None))
_MOST_AXES = 32
_LONGEST_MESSAGE = 200


def load_pickle(path: Path) -> Any:
    """Load the object in a pickle file.

    Strings of Python 2 become bytes, and every mapping becomes a dict. Keys are strings or whole numbers, and numbers have at
    most 72 bits. Memory is limited to the size of the file, a copy of its arrays, and 500 MB of containers.

    Args:
        path: a regular file.

    Returns:
        dict, list, tuple, set, str, bytes, numbers, None and arrays of numbers.

    Raises:
        UserError: it names the first thing that is not data, or says that the file is damaged or beyond a bound.
    """
    try:
        with open_regular(path) as file:
            return _plain(Machine(file, _Globals(os.fstat(file.fileno()).st_size).find).run(), {})
    except _NotDataError as error:
        raise UserError(f"{path}: refused, it asks for {_short(error)}, which is not data; nothing of it was run") from error
    except _DAMAGE as error:
        raise UserError(f"{path}: not a readable pickle ({_short(error)})") from error
    except (MemoryError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not a readable pickle (too large)") from error


def text(value: object) -> str:
    """A string of Python 2 or 3 as str.

    Args:
        value: a string or bytes.

    Returns:
        The string.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    return value


def whole_numbers(value: object, end: int) -> NDArray[np.int64]:
    """A list or an array from a pickle as an array of whole numbers.

    Args:
        value: what the pickle has in this place.
        end: the first number that is too large.

    Returns:
        (N,) int64, from 0 to end - 1.

    Raises:
        ValueError: it is of another kind or shape, or has other numbers.
    """
    if isinstance(value, list | tuple) and all(type(number) is int for number in value):
        value = np.array(value, object)
    elif not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        raise ValueError(f"expected whole numbers, got {getattr(value, 'dtype', type(value).__name__)}")
    if value.ndim != 1:
        raise ValueError(f"expected (N,) whole numbers, got {value.shape}")
    beyond = value[(value < 0) | (value >= end)]
    if len(beyond):
        raise ValueError(f"expected whole numbers from 0 to {end - 1}, got {beyond[0]}")
    return value.astype(np.int64)


class _NotDataError(Exception):
    pass


class _DType:
    __slots__ = ("dtype",)

    def __init__(self, code: object, *_: object) -> None:
        self.dtype = _number_type(code)

    def set_state(self, state: object) -> None:
        _, order, *structure = _state(state)
        if any(part is not None for part in structure[:3]):
            raise _NotDataError("a structured array")
        if order not in _ORDERS:
            raise ValueError("an array of numbers in an unknown order")
        self.dtype = np.dtype(text(order) + self.dtype.str[1:])


class _Array:
    __slots__ = ("array",)

    def __init__(self, array: NDArray[Any] | None = None) -> None:
        self.array = array

    def set_state(self, state: object) -> None:
        _, shape, dtype, fortran, raw = _state(state)
        self.array = _array(raw, dtype, shape, "F" if fortran else "C")


def _number_type(code: object) -> np.dtype[Any]:
    if not isinstance(code, str | bytes) or not _NUMBERS.fullmatch(text(code[:9])):
        raise _NotDataError(f"an array of {code!r}" if isinstance(code, str) else f"an array of {text(code)!r}")
    return np.dtype(text(code))


def _state(state: object) -> tuple[Any, ...]:
    if not isinstance(state, tuple) or len(state) > 9:
        raise ValueError("an array with another state")
    return state


def _array(raw: object, dtype: object, shape: object, order: object) -> NDArray[Any]:
    if not isinstance(raw, bytes | bytearray) or not isinstance(dtype, _DType) or not isinstance(shape, tuple):
        raise ValueError("an array that is not made of numbers")
    if len(shape) > _MOST_AXES or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"an array of {len(shape)} axes, or of sizes that are no numbers")
    if prod(shape) * dtype.dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and type {dtype.dtype} with {len(raw)} bytes")
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if order in ("F", b"F") else "C")


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    return _Array(_array(raw, dtype, shape, order))


def _scalar(dtype: object, raw: object) -> object:
    return _array(raw, dtype, (), "C").item()


class _Globals:
    """What stands for the globals of one pickle; it makes no more bytes of texts than the file has."""

    def __init__(self, size: int) -> None:
        self._left = size

    def find(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        try:
            return _STANDS[module, name]
        except KeyError:
            raise _NotDataError(f"{module}.{name}") from None

    def _encode(self, string: object, encoding: object = "latin1") -> bytes:
        if not isinstance(string, str) or encoding not in ("latin1", b"latin1"):
            raise ValueError("bytes that are not written as latin1")
        self._left -= len(string)
        if self._left < 0:
            raise ValueError("more bytes than the file has")
        return string.encode("latin1")


_STANDS: dict[tuple[str, str], Callable[..., object]] = {
    **{
        (f"numpy.{core}.{module}", name): call
        for core in ("core", "_core")
        for module, name, call in (
            ("multiarray", "_reconstruct", lambda *_: _Array()),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("numpy", "dtype"): lambda *arguments: _DType(*arguments),
    ("collections", "OrderedDict"): lambda *_: {},
    ("collections", "defaultdict"): lambda *_: {},
    **{(module, "list"): lambda: [] for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): lambda: b"" for module in ("builtins", "__builtin__")},
}


def _short(error: Exception) -> str:
    message = str(error)
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """The same with arrays in place of what stood for them; `done` keeps shared parts from being walked twice."""
    if isinstance(value, _Array) and value.array is not None:
        return value.array
    if isinstance(value, _SCALARS):
        return value
    if not isinstance(value, dict | list | tuple):
        raise ValueError("an array without content, or a name that is not used")
    if id(value) in done:
        return done[id(value)]
    done[id(value)] = value
    if isinstance(value, dict):
        for key in value:
            value[key] = _plain(value[key], done)
    elif isinstance(value, list):
        value[:] = [_plain(item, done) for item in value]
    else:
        done[id(value)] = tuple(_plain(item, done) for item in value)
    return done[id(value)]
