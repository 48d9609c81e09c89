import os

import pytest

from srwm.errors import UserError, printable


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Ωμέγα 字 é", "Ωμέγα 字 é"),
        ("a\x1b[31mred\x07", r"a\x1b[31mred\x07"),
        ("a\u202eb", r"a\u202eb"),
        ("a\nb\tc", r"a\nb\tc"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_what_a_terminal_would_not_show_is_escaped(given, shown):
    assert printable(given) == shown
    assert printable(given).encode("utf-8").decode().isprintable()


def test_a_user_error_is_one_line_of_printable_text():
    error = UserError(f"{os.fsdecode(b'a') + chr(27)}: not\n  readable\u2028here {os.fsdecode(bytes([255]))}")
    assert str(error) == r"a\x1b: not readable here \xff"
