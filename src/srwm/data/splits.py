"""The registry of data sets by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

from typing_extensions import Doc

from srwm.data.drawings.glyphs import load_glyphs
from srwm.data.images import ImageClasses, Split
from srwm.data.sets.cifar100 import load_cifarfs, load_fc100
from srwm.data.sets.folder import load_folder
from srwm.data.sets.mini_imagenet import load_mini_imagenet
from srwm.data.sets.mixture import load_mixture
from srwm.data.sets.omniglot import load_omniglot
from srwm.errors import UserError


class DataSet(NamedTuple):
    """A data set: its loader, and whether its images are centered ink."""

    load: Callable[[Path | None], dict[Split, ImageClasses]]
    """loads the splits from a folder; None: from `$SRWM_DATA` or the cache"""
    centered: bool = False
    """whether images are centered ink, as `srwm.data.drawings.ink.normalize_ink` returns it"""


def _glyphs(data_dir: Path | None) -> dict[Split, ImageClasses]:
    return load_glyphs(instances=8)


DATA_SETS = {
    "omniglot": DataSet(load_omniglot),
    "omniglot-centered": DataSet(partial(load_omniglot, centered=True), centered=True),
    "glyphs": DataSet(_glyphs, centered=True),
    "omniglot+glyphs": DataSet(load_mixture, centered=True),
    "mini-imagenet": DataSet(load_mini_imagenet),
    "fc100": DataSet(load_fc100),
    "cifar-fs": DataSet(load_cifarfs),
}
FOLDER = "folder:"
CENTERED = tuple(name for name, data_set in DATA_SETS.items() if data_set.centered)
"""Names of the data sets of centered ink."""
DatasetName: TypeAlias = Annotated[str, Doc(f"{', '.join(DATA_SETS)}, or {FOLDER}PATH for your own class folders")]
"""A key of `DATA_SETS`, or folder:PATH."""


def load_splits(name: DatasetName, data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """Training, validation and test classes of a data set.

    Images are uint8; models see them divided by 255, and normalized where `srwm.data.normalize` is applied to the splits.
    `glyphs` has 8 drawings of each letter; in the mixture there are 20, as in Omniglot.

    Args:
        name: a key of `DATA_SETS`, or folder:PATH for your own class folders.
        data_dir: the folder of the data, as in the loader of the data set; None: `$SRWM_DATA`, else the cache.

    Returns:
        The classes of "train", "val" and "test".

    Raises:
        UserError: the name is unknown, or as the loader.
    """
    if name.startswith(FOLDER):
        return load_folder(_path(name.removeprefix(FOLDER)))
    if name not in DATA_SETS:
        raise UserError(f"data: expected {', '.join(DATA_SETS)} or {FOLDER}PATH, got {name!r}")
    return DATA_SETS[name].load(data_dir)


def _path(given: str) -> Path:
    if not given:
        raise UserError(f"data: expected a path after {FOLDER!r}, got none")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UserError(f"data: {given}: {error}") from error
