"""A message is one line that any terminal can take."""

import os

from srwm.errors import UserError, printable


def test_control_characters_and_bytes_that_are_no_text_are_escaped() -> None:
    name = os.fsdecode(b"run-\xff-\x1b[31m\x07")
    assert printable(f"{name}: a\n  b ± é") == r"run-\udcff-\x1b[31m\x07: a b ± é"
    assert str(UserError(name)) == printable(name)
    printable(name).encode("utf-8")
