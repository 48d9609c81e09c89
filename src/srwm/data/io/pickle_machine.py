"""The opcodes of a pickle that describe data, carried out in bounded time and memory.

A pickle is a program for a stack machine. `pickle.Unpickler` trusts it: an index of seven bytes makes it take gigabytes, and a
nested key of two hundred bytes keeps it busy for years. Here the number of opcodes is bounded, whatever an opcode makes is no
larger than the bytes it stands for, and a key is a text or a number.
"""

import codecs
import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

MAX_OPCODES = 2**21
_MOST_ARGUMENTS = 8
_LONGEST_NUMBER = 9
_PROTOCOLS = 5
_KEYS = (str, bytes, int, bool, type(None))

Find = Callable[[str, str], Callable[..., object]]


class Machine:
    """Runs one pickle.

    Args:
        file: a regular file at the start of the pickle.
        find: gives the function that stands for a global of the pickle, by module and name, or raises. An object that such a
            function makes may have a method `set_state`, which gets the state that the pickle has for it.
    """

    def __init__(self, file: BinaryIO, find: Find) -> None:
        self.size = self.left = os.fstat(file.fileno()).st_size
        self.stack: list[Any] = []
        self._file = file
        self._find = find
        self._outer: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> object:
        """The object that the pickle describes.

        Returns:
            The object.

        Raises:
            ValueError, LookupError: the pickle is damaged, not of data, or beyond a bound; and what `find` and the functions
                that it gives raise.
        """
        for _ in range(MAX_OPCODES):
            code = self.read(1)
            if code == b".":
                return self.stack.pop()
            if code not in _OPCODES:
                raise ValueError(f"opcode {code!r} is not of data")
            _OPCODES[code](self)
        raise ValueError(f"more than {MAX_OPCODES} opcodes")

    def read(self, count: int) -> bytes:
        """The next bytes of the file.

        Args:
            count: number of bytes.

        Returns:
            The bytes.

        Raises:
            ValueError: the file has fewer.
        """
        if not 0 <= count <= self.left:
            raise ValueError("cut off")
        content = self._file.read(count)
        self.left -= count
        if len(content) < count:
            raise ValueError("cut off")
        return content

    def line(self) -> bytes:
        """The next line of the file, without its end.

        Returns:
            The line.

        Raises:
            ValueError: the file ends before the line does.
        """
        line = self._file.readline(self.left)
        self.left -= len(line)
        if not line.endswith(b"\n"):
            raise ValueError("cut off")
        return line[:-1]

    def number(self, count: int, signed: bool = False) -> int:
        """A little-endian whole number.

        Args:
            count: number of bytes.
            signed: whether it is signed.

        Returns:
            The number.

        Raises:
            ValueError: it is too large.
        """
        if count > _LONGEST_NUMBER:
            raise ValueError(f"a number of {count} bytes")
        return int.from_bytes(self.read(count), "little", signed=signed)

    def mark(self) -> None:
        """Begin a new stack above this one."""
        self._outer.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """What has been pushed since the last mark; the stack below it is the present one again.

        Returns:
            The objects, in the order in which they were pushed.

        Raises:
            IndexError: there is no mark.
        """
        items, self.stack = self.stack, self._outer.pop()
        return items

    def pop(self) -> None:
        """Drop the top of the stack, or a mark."""
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def put(self, index: int) -> None:
        """Remember the top of the stack.

        Args:
            index: its index in the memo.

        Raises:
            ValueError: the index is larger than the file.
        """
        if not 0 <= index <= self.size:
            raise ValueError(f"index {index} of the memo is beyond the file")
        self._memo[index] = self.stack[-1]

    def memoize(self) -> None:
        """Remember the top of the stack under the next free index."""
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        """Push what is remembered.

        Args:
            index: its index in the memo.

        Raises:
            KeyError: nothing is remembered there.
        """
        self.stack.append(self._memo[index])

    def append(self, items: list[Any]) -> None:
        """Add to the list on top of the stack.

        Args:
            items: what is added.

        Raises:
            ValueError: something other than a list is there.
        """
        top = self.stack[-1]
        if not isinstance(top, list):
            raise ValueError(f"items for {_kind(top)}")
        top += items

    def set_items(self, pairs: list[Any]) -> None:
        """Put keys and values, in turn, into the dict on top of the stack.

        Args:
            pairs: keys and values in turn.

        Raises:
            ValueError: something other than a dict is there, a value is missing, or a key is not
                of a simple type.
        """
        top = self.stack[-1]
        if not isinstance(top, dict) or len(pairs) % 2:
            raise ValueError(f"keys for {_kind(top)}")
        top.update(zip(_checked_keys(pairs[::2]), pairs[1::2], strict=True))

    def add(self, items: list[Any]) -> None:
        """Add to the set on top of the stack.

        Args:
            items: what is added.

        Raises:
            ValueError: something other than a set is there, or a member is not of a simple type.
        """
        top = self.stack[-1]
        if not isinstance(top, set):
            raise ValueError(f"members for {_kind(top)}")
        top.update(_checked_keys(items))

    def push_global(self, module: object, name: object) -> None:
        """Push the function that stands for a global.

        Args:
            module: the global's module.
            name: the global's name.

        Raises:
            ValueError: they are not strings.
        """
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global without a name")
        self.stack.append(self._find(module, name))

    def reduce(self) -> None:
        """Call the function below its arguments on the stack.

        Raises:
            ValueError: they are not a function and a short tuple; and what the function raises.
        """
        arguments, function = self.stack.pop(), self.stack.pop()
        if not callable(function) or not isinstance(arguments, tuple) or len(arguments) > _MOST_ARGUMENTS:
            raise ValueError(f"a call of {_kind(function)} that is not of data")
        self.stack.append(function(*arguments))

    def build(self) -> None:
        """Give a state to the object below it on the stack.

        Raises:
            ValueError: the object takes no state; and what it raises.
        """
        state, top = self.stack.pop(), self.stack[-1]
        if not hasattr(top, "set_state"):
            raise ValueError(f"a state for {_kind(top)}")
        top.set_state(state)

    def refuse_instance(self) -> None:
        """Refuse an instance of a class, by its name where it is no data.

        Raises:
            ValueError: always.
        """
        self.push_global(self.line().decode(), self.line().decode())
        raise ValueError("an instance of a class")


def _kind(value: object) -> str:
    return "a function" if callable(value) else type(value).__name__


def _checked_keys(keys: list[Any]) -> list[Any]:
    for key in keys:
        if type(key) not in _KEYS:
            raise ValueError(f"a key that is {_kind(key)}")
    return keys


def _check_protocol(version: int) -> None:
    if version > _PROTOCOLS:
        raise ValueError(f"protocol {version}")


def _check_frame(machine: Machine, length: int) -> None:
    if length > machine.left:
        raise ValueError("cut off")


def _quoted(line: bytes) -> bytes:
    line = line.strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return bytes(codecs.escape_decode(line[1:-1])[0])


def _decimal(line: bytes) -> int:
    if len(line) > 2 * _LONGEST_NUMBER + 4:
        raise ValueError(f"a number of {len(line)} digits")
    return int(line)


def _bool_or_int(line: bytes) -> int:
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else _decimal(line)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _pushes(make: Callable[[Machine], object]) -> Callable[[Machine], None]:
    def push(machine: Machine) -> None:
        made = make(machine)
        machine.stack.append(made)

    return push


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def make(machine: Machine) -> None:
        if len(machine.stack) < count:
            raise ValueError("cut off")
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return make


def _dict_of(machine: Machine) -> None:
    pairs = machine.marked()
    machine.stack.append({})
    machine.set_items(pairs)


_OPCODES: dict[bytes, Callable[[Machine], object]] = {
    # the frame of the program
    b"\x80": lambda m: _check_protocol(m.number(1)),
    b"\x95": lambda m: _check_frame(m, m.number(8)),
    b"(": Machine.mark,
    b"0": Machine.pop,
    b"1": Machine.marked,
    b"2": _pushes(lambda m: m.stack[-1]),
    # numbers
    b"N": _pushes(lambda m: None),
    b"\x88": _pushes(lambda m: True),
    b"\x89": _pushes(lambda m: False),
    b"I": _pushes(lambda m: _bool_or_int(m.line())),
    b"L": _pushes(lambda m: _decimal(m.line().removesuffix(b"L"))),
    b"J": _pushes(lambda m: m.number(4, signed=True)),
    b"K": _pushes(lambda m: m.number(1)),
    b"M": _pushes(lambda m: m.number(2)),
    b"\x8a": _pushes(lambda m: m.number(m.number(1), signed=True)),
    b"\x8b": _pushes(lambda m: m.number(m.number(4), signed=True)),
    b"F": _pushes(lambda m: float(m.line())),
    b"G": _pushes(lambda m: struct.unpack(">d", m.read(8))[0]),
    # texts and bytes; strings of Python 2 are bytes
    b"S": _pushes(lambda m: _quoted(m.line())),
    b"T": _pushes(lambda m: m.read(m.number(4))),
    b"U": _pushes(lambda m: m.read(m.number(1))),
    b"V": _pushes(lambda m: m.line().decode("raw-unicode-escape")),
    b"\x8c": _pushes(lambda m: _text(m.read(m.number(1)))),
    b"X": _pushes(lambda m: _text(m.read(m.number(4)))),
    b"\x8d": _pushes(lambda m: _text(m.read(m.number(8)))),
    b"C": _pushes(lambda m: m.read(m.number(1))),
    b"B": _pushes(lambda m: m.read(m.number(4))),
    b"\x8e": _pushes(lambda m: m.read(m.number(8))),
    b"\x96": _pushes(lambda m: bytearray(m.read(m.number(8)))),
    # containers
    b"]": _pushes(lambda m: []),
    b"}": _pushes(lambda m: {}),
    b")": _pushes(lambda m: ()),
    b"\x8f": _pushes(lambda m: set()),
    b"l": _pushes(lambda m: m.marked()),
    b"t": _pushes(lambda m: tuple(m.marked())),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"d": _dict_of,
    b"\x91": _pushes(lambda m: frozenset(_checked_keys(m.marked()))),
    b"a": lambda m: m.append([m.stack.pop()]),
    b"e": lambda m: m.append(m.marked()),
    b"s": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: m.set_items(m.marked()),
    b"\x90": lambda m: m.add(m.marked()),
    # the memo
    b"p": lambda m: m.put(_decimal(m.line())),
    b"q": lambda m: m.put(m.number(1)),
    b"r": lambda m: m.put(m.number(4)),
    b"\x94": Machine.memoize,
    b"g": lambda m: m.get(_decimal(m.line())),
    b"h": lambda m: m.get(m.number(1)),
    b"j": lambda m: m.get(m.number(4)),
    # globals, calls and states
    b"c": lambda m: m.push_global(m.line().decode(), m.line().decode()),
    b"\x93": lambda m: m.push_global(m.stack.pop(-2), m.stack.pop()),
    b"i": Machine.refuse_instance,
    b"R": Machine.reduce,
    b"b": Machine.build,
}
