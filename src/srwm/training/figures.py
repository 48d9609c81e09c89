"""Checks of the files of figures."""

from collections.abc import Collection
from pathlib import Path

from srwm.errors import UserError
from srwm.files import check_writable

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def check_figure(path: Path, endings: Collection[str] = PICTURES) -> None:
    """Check before a figure is drawn that it can be written.

    Args:
        path: the file.
        endings: the allowed suffixes, in upper or lower case.

    Raises:
        UserError: the suffix is another one, or as `check_writable`.
    """
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: expected a name that ends in {', '.join(endings)}")
    check_writable(path)
