"""The data sets by name."""

from pathlib import Path
from typing import TypeAlias

from srwm.data.drawings.glyphs import load_glyphs
from srwm.data.images import ImageClasses, Split
from srwm.data.sets.cifar100 import load_cifarfs, load_fc100
from srwm.data.sets.folder import load_folder
from srwm.data.sets.mini_imagenet import load_mini_imagenet
from srwm.data.sets.mixture import load_mixture
from srwm.data.sets.omniglot import load_omniglot
from srwm.errors import UserError

DatasetName: TypeAlias = str
FOLDER = "folder:"
CENTERED = ("omniglot-centered", "glyphs", "omniglot+glyphs")
"""Data sets whose images are centered ink, as `srwm.data.drawings.ink.normalize_ink` makes of any image."""
NAMES = ("omniglot", "omniglot-centered", "glyphs", "omniglot+glyphs", "mini-imagenet", "fc100", "cifar-fs")


def load_splits(name: DatasetName, data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """Training, validation and test classes of a data set; `data_dir` as in its loader.

    name: omniglot, omniglot-centered, glyphs, omniglot+glyphs, mini-imagenet, fc100, cifar-fs, or folder:PATH for class
    folders of one's own.
    Of glyphs alone there are 8 drawings a letter, quickly made; in the mixture 20, as in Omniglot.
    Images are uint8; models see them divided by 255, and normalized where `srwm.data.normalize` is applied to the splits.
    Raises UserError for another name, or as the loader does.
    """
    match name:
        case "omniglot":
            return load_omniglot(data_dir)
        case "omniglot-centered":
            return load_omniglot(data_dir, centered=True)
        case "glyphs":
            return load_glyphs(instances=8)
        case "omniglot+glyphs":
            return load_mixture(data_dir)
        case "mini-imagenet":
            return load_mini_imagenet(data_dir)
        case "fc100":
            return load_fc100(data_dir)
        case "cifar-fs":
            return load_cifarfs(data_dir)
    if name.startswith(FOLDER):
        return load_folder(_path(name.removeprefix(FOLDER)))
    raise UserError(f"data: expected {', '.join(NAMES)} or {FOLDER}PATH, got {name!r}")


def _path(given: str) -> Path:
    if not given:
        raise UserError(f"data: expected a path after {FOLDER!r}, got none")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UserError(f"data: {given}: {error}") from error
