"""Checks of the file names of figures."""

from collections.abc import Collection
from pathlib import Path

from srwm.errors import UserError

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def check_figure(path: Path, endings: Collection[str] = PICTURES) -> None:
    """Check the name of a figure before it is drawn.

    Args:
        path: the file.
        endings: the allowed suffixes, in upper or lower case.

    Raises:
        UserError: the suffix is another one, or the folder does not exist.
    """
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: expected a name that ends in {', '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder")
