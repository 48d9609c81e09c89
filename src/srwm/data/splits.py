"""The data sets by name."""

from pathlib import Path
from typing import Literal

from srwm.data.glyphs import load_glyphs
from srwm.data.images import ImageClasses, Split
from srwm.data.mixture import load_mixture
from srwm.data.omniglot import load_omniglot

DatasetName = Literal["omniglot", "glyphs", "omniglot+glyphs"]


def load_splits(name: DatasetName, data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """Training, validation and test classes of a data set; `data_dir` as in its loader. Raises UserError as its loader does.

    Of glyphs alone there are 8 drawings a letter, quickly made; in the mixture 20, as in Omniglot.
    """
    match name:
        case "omniglot":
            return load_omniglot(data_dir)
        case "glyphs":
            return load_glyphs(instances=8)
        case "omniglot+glyphs":
            return load_mixture(data_dir)
