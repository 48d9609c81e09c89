"""Omniglot (Lake et al., 2015): 1,623 characters x 20 drawers, in the split of Vinyals et al. (2016)."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srwm.data.drawings.ink import normalize_ink
from srwm.data.images import ImageClasses, Split, with_rotations
from srwm.data.io.cache import Decoded, cached_classes, files_key
from srwm.data.io.decode import fitted, read_gray
from srwm.data.io.download import fetch_archive
from srwm.data.io.places import cache_dir, named_folder
from srwm.errors import UserError

DRAWERS = 20
SIDE = 28
_MAX_SIDE = 1024
FOLDERS = ("images_background", "images_evaluation")
_URL = "https://github.com/brendenlake/omniglot/raw/master/python/{}.zip"
_MD5 = {"images_background": "68d2efa1b9178cc56df9314c21c6e718", "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811"}
_FORM = f"1: inverted, {SIDE}x{SIDE}, Lanczos"
_FORM_CENTERED = "2: centered"


def load_omniglot(data_dir: Path | None = None, *, rotations: bool = True, centered: bool = False) -> dict[Split, ImageClasses]:
    """The Vinyals split: 1028 / 172 / 423 classes of 20 images (1, 28, 28), x4 with rotations as classes of their own.

    Args:
        data_dir: the folder of the data, as in `find_omniglot`; None: `$SRWM_DATA`, else the cache, into which the official
            archives are downloaded once.
        rotations: whether rotations are classes of their own.
        centered: whether every drawing is scaled and centered by `srwm.data.drawings.ink.normalize_ink`, instead of the whole
            page made smaller.

    Returns:
        The classes by split.

    Raises:
        UserError: there is no data, an image is missing or damaged, or the download fails.
    """
    characters = decode(find_omniglot(data_dir), centered=centered)
    splits = {split: _select(characters, split) for split in vinyals_split()}
    return {split: with_rotations(data) if rotations else data for split, data in splits.items()}


def find_omniglot(data_dir: Path | None = None) -> Path:
    """The folder that holds `images_background` and `images_evaluation`; downloads them if no folder is named.

    Args:
        data_dir: that folder, or the one above it with the data in `omniglot/`; None: `$SRWM_DATA`, which may be either.

    Returns:
        The folder.

    Raises:
        UserError: a named folder does not hold them, or the download fails.
    """
    named = named_folder(data_dir)
    if named is not None:
        for folder in (named / "omniglot", named):
            if all((folder / part).is_dir() for part in FOLDERS):
                return folder
        raise UserError(
            f"{named}: no Omniglot here; unpack images_background.zip and images_evaluation.zip from "
            "https://github.com/brendenlake/omniglot/tree/master/python in this folder, or name no folder "
            "(--data-dir, SRWM_DATA) to have them downloaded"
        )
    folder = cache_dir() / "omniglot"
    for part in FOLDERS:
        if not (folder / part).is_dir():
            fetch_archive(_URL.format(part), f"md5:{_MD5[part]}", folder, part)
    return folder


def vinyals_split() -> dict[Split, list[str]]:
    """Class names "folder/alphabet/character" of the 1028 / 172 / 423 base characters.

    Returns:
        The names by split.
    """
    table = json.loads(files("srwm.data.sets").joinpath("omniglot_vinyals.json").read_text())["split"]
    return {
        split: [
            f"{folder}/{alphabet}/character{number:02d}"
            for folder, alphabets in table[split].items()
            for alphabet, (first, last) in alphabets.items()
            for number in range(first, last + 1)
        ]
        for split in table
    }


def decode(root: Path, *, centered: bool = False) -> ImageClasses:
    """All characters under a folder, decoded once and mapped from the cache; a changed file is read again.

    Args:
        root: the folder that `find_omniglot` finds.
        centered: whether `normalize_ink` takes the place of Pillow's antialiased Lanczos resize.

    Returns:
        Images (1, 28, 28) by character, ink bright (255).

    Raises:
        UserError: it names the first folder with other than 20 images, or the first image that cannot be read.
    """
    characters = _characters(root)
    paths = [path for images in characters.values() for path in images]

    def read() -> Decoded:
        return dict.fromkeys(characters, DRAWERS), _images(root.name, paths, centered)

    key = files_key(_FORM_CENTERED if centered else _FORM, root, paths)
    return cached_classes("omniglot-centered" if centered else "omniglot", key, read)


def _characters(root: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for character in sorted((root / folder).glob("*/character*")):
            images = sorted(map(str, character.glob("*.png")))
            if len(images) != DRAWERS:
                raise UserError(f"{character}: expected {DRAWERS} images, found {len(images)}; the data set is incomplete")
            found[character.relative_to(root).as_posix()] = images
    if not found:
        raise UserError(f"{root}: {' and '.join(FOLDERS)} hold no characters; the data set is incomplete")
    return found


def _images(name: str, paths: list[str], centered: bool) -> Iterator[NDArray[np.uint8]]:
    from tqdm import tqdm

    for path in tqdm(paths, desc=f"decoding {name}", unit=" images", disable=None, leave=False):
        yield _read_image(path, centered)[None, None]


def _read_image(path: str, centered: bool) -> NDArray[np.uint8]:
    from PIL import Image

    ink = 255 - read_gray(path, _MAX_SIDE)
    if centered:
        return normalize_ink(ink)
    resized: NDArray[np.uint8] = fitted(Image.fromarray(ink), (1, SIDE, SIDE))[0]
    return resized


def _select(characters: ImageClasses, split: Split) -> ImageClasses:
    index = {name: position for position, name in enumerate(characters.class_names)}
    names = vinyals_split()[split]
    for name in names:
        if name not in index:
            raise UserError(f"{name}: this character of the {split} split is missing; the data set is incomplete")
    return characters.select([index[name] for name in names], f"{characters.name}-{split}")
