"""The data sets by name."""

from pathlib import Path
from typing import TypeAlias

from srwm.data.errors import UserError
from srwm.data.glyphs import load_glyphs
from srwm.data.images import ImageClasses, Split
from srwm.data.omniglot import load_omniglot

DatasetName: TypeAlias = str


def load_splits(name: DatasetName, data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """Training, validation and test classes of a data set; `data_dir` as in its loader. Raises UserError as its loader does."""
    match name:
        case "omniglot":
            return load_omniglot(data_dir)
        case "glyphs":
            return load_glyphs()
    raise UserError(f"data: expected omniglot or glyphs, got {name!r}")
