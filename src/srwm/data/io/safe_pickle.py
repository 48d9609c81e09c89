"""Pickles of arrays and plain containers, read without running code from them.

A pickle is a program: it names functions of any installed module and calls them. Here every name that numbers and containers
need stands for a small function of this file, and any other is refused. NumPy's own reconstruction is not called either: a
forged state of a dtype could make it take bytes of the file for pointers.
"""

import pickle
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError

_DAMAGE = (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, ImportError)
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


def load_pickle(path: Path) -> Any:
    """The one object in the file: dict, list, tuple, set, str, bytes, numbers, None and arrays of numbers.

    Strings of Python 2 come as bytes; every mapping comes as dict.
    Raises UserError that names the first thing that is not data, or says that the file is damaged.
    """
    try:
        with path.open("rb") as file:
            return _plain(_Reader(file, encoding="bytes").load(), {})
    except _NotDataError as error:
        raise UserError(f"{path}: refused, it asks for {error}, which is not data; nothing of it was run") from error
    except _DAMAGE as error:
        raise UserError(f"{path}: not a readable pickle ({error})") from error
    except (MemoryError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not a readable pickle (too large)") from error


def text(value: object) -> str:
    """A string of Python 2 or 3 as str. Raises ValueError for anything else."""
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    return value


class _NotDataError(Exception):
    pass


class _Stand:
    """Stands for a global of the pickle: can be called, and cannot be changed by the pickle."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> object:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a state for a function")


class _DType:
    __slots__ = ("dtype",)

    def __init__(self, code: object, *_: object) -> None:
        if not _NUMBERS.fullmatch(text(code)):
            raise _NotDataError(f"an array of {text(code)!r}")
        self.dtype = np.dtype(text(code))

    def __setstate__(self, state: Any) -> None:
        _, order, *structure = state
        if any(part is not None for part in structure[:3]):
            raise _NotDataError("a structured array")
        self.dtype = np.dtype(text(order) + self.dtype.str[1:])


class _Array:
    __slots__ = ("array",)

    array: NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.array = _array(raw, dtype, shape, "F" if fortran else "C")


def _array(raw: object, dtype: object, shape: object, order: object) -> NDArray[Any]:
    if not isinstance(raw, bytes | bytearray) or not isinstance(dtype, _DType) or not isinstance(shape, tuple):
        raise ValueError("an array that is not made of numbers")
    if not all(isinstance(size, int) and size >= 0 for size in shape) or prod(shape) * dtype.dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} and type {dtype.dtype} with {len(raw)} bytes")
    return np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if text(order) == "F" else "C")


def _from_buffer(raw: object, dtype: object, shape: object, order: object) -> _Array:
    made = _Array()
    made.array = _array(raw, dtype, shape, order)
    return made


def _scalar(dtype: object, raw: object) -> object:
    return _array(raw, dtype, (), "C").item()


def _encode(string: object, encoding: object = "latin1") -> bytes:
    if not isinstance(string, str) or text(encoding) != "latin1":
        raise ValueError("bytes that are not written as latin1")
    return string.encode("latin1")


def _empty_dict(*_: object) -> dict[object, object]:
    return {}


_STANDS: dict[tuple[str, str], _Stand] = {
    **{
        (f"numpy.{core}.{module}", name): _Stand(call)
        for core in ("core", "_core")
        for module, name, call in (
            ("multiarray", "_reconstruct", lambda *_: _Array()),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
    ("numpy", "ndarray"): _Stand(lambda *_: _Array()),
    ("numpy", "dtype"): _Stand(_DType),
    ("_codecs", "encode"): _Stand(_encode),
    ("collections", "OrderedDict"): _Stand(_empty_dict),
    ("collections", "defaultdict"): _Stand(_empty_dict),
    **{(module, "list"): _Stand(list) for module in ("builtins", "__builtin__")},
    **{(module, "bytes"): _Stand(lambda: b"") for module in ("builtins", "__builtin__")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Stand:
        try:
            return _STANDS[module, name]
        except KeyError:
            raise _NotDataError(f"{module}.{name}") from None


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """The same with arrays in place of what stood for them; `done` keeps shared parts from being walked twice."""
    if isinstance(value, _Array):
        return value.array
    if not isinstance(value, dict | list | tuple) or id(value) in done:
        return done.get(id(value), value)
    done[id(value)] = value
    if isinstance(value, dict):
        for key in value:
            value[key] = _plain(value[key], done)
    elif isinstance(value, list):
        value[:] = [_plain(item, done) for item in value]
    else:
        done[id(value)] = tuple(_plain(item, done) for item in value)
    return done[id(value)]
