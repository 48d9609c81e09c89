"""The one exception for mistakes that the user can mend, and text that a terminal can take."""


class UserError(Exception):
    """A missing folder, a corrupt file, a wrong setting: one line that says what is wrong and what to do."""

    def __init__(self, message: object) -> None:
        super().__init__(printable(message))


def printable(message: object) -> str:
    """A message as one line, in which control characters, and bytes of file names that are not UTF-8, are escaped."""
    line = " ".join(str(message).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
