"""Where figures may go."""

from collections.abc import Collection
from pathlib import Path

from srwm.errors import UserError

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


def check_figure(path: Path, endings: Collection[str] = PICTURES) -> None:
    """Raise UserError for a name that ends in none of these, in upper or lower case, or whose folder is not there."""
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: expected a name that ends in {', '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder")
