"""The exception for mistakes that the user can correct, and text that is safe to print on a terminal."""


class UserError(Exception):
    """A missing folder, a corrupt file or a wrong setting, in one line that says what is wrong and what to do.

    White space becomes single spaces, and other characters that a terminal would not show are escaped (`printable`).

    Args:
        message: what is wrong and what to do; more than one line becomes one.
    """

    def __init__(self, message: object) -> None:
        super().__init__(one_line(message))


def one_line(message: object) -> str:
    """A message on one line: white space becomes single spaces, and characters that a terminal would not show are escaped.

    Args:
        message: anything with a text.

    Returns:
        The text.
    """
    return printable(" ".join(str(message).split()))


def printable(text: str) -> str:
    """The text with every control character, line break and byte outside UTF-8 as an escape.

    Args:
        text: any text, such as the name of a file.

    Returns:
        The same text where each character that is not printable reads `\\x1b` or `\\u202e`; a byte of a file name that is not
        UTF-8 (a surrogate of `os.fsdecode`) reads `\\xff`. It can be encoded as UTF-8 and printed on any terminal.
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
