"""A user's own images: a folder of class folders."""

import hashlib
import os
import warnings
from dataclasses import replace
from pathlib import Path

from srwm.data.images import SPLITS, ImageClasses, Split, check_apart
from srwm.data.io.cache import Decoded, cached_classes, files_key
from srwm.data.io.decode import SUFFIXES, all_gray, read_images
from srwm.errors import UserError, printable

COLOR_SHAPE = (3, 84, 84)
GRAY_SHAPE = (1, 28, 28)
_FORM = f"1: {GRAY_SHAPE} or {COLOR_SHAPE}, Lanczos"


def load_folder(root: Path) -> dict[Split, ImageClasses]:
    """Images from `root`/{train,val,test}/<class>/, or from `root`/<class>/ with the classes split 60 / 20 / 20.

    The split of the second form depends on the names of the classes alone: in the order of a hash of the name, the first
    60 % train, the next 20 % validate, the rest test. Images are decoded once (`picture_to_array`) and mapped from the cache.

    Args:
        root: the folder. Its path, as it is given, names the data sets.

    Returns:
        Images (1, 28, 28) if all files are grayscale, else (3, 84, 84) RGB, by split.

    Raises:
        UserError: there are no such folders, a class is in two splits or has no images, or a file is damaged or too large.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    given = [(root / split).is_dir() for split in SPLITS]
    if any(given) and not all(given):
        raise UserError(f"{root}: expected class folders, or the three folders {', '.join(SPLITS)}")
    splits = {split: class_folders(root / split) for split in SPLITS} if all(given) else split_classes(class_folders(root))
    check_apart(root, splits)
    paths = {split: [path for files in classes.values() for path in files] for split, classes in splits.items()}
    key = files_key(_FORM, root, [path for split in SPLITS for path in paths[split]])
    gray: list[bool] = []

    def load(split: Split) -> ImageClasses:
        def decode() -> Decoded:
            if not gray:
                gray.append(all_gray([path for split in SPLITS for path in paths[split]]))
            shape = GRAY_SHAPE if gray[0] else COLOR_SHAPE
            counts = {name: len(files) for name, files in splits[split].items()}
            return counts, read_images(paths[split], shape, f"decoding {root.name}/{split}")

        return replace(cached_classes(f"folder-{split}", key, decode), name=printable(f"{root}-{split}"))

    return {split: load(split) for split in SPLITS}


def class_folders(root: Path) -> dict[str, list[str]]:
    """The image files of every folder in `root`, in alphabetical order.

    Hidden files and folders are passed over; a warning names other files that are no images by their name.

    Args:
        root: the folder of class folders.

    Returns:
        Paths of image files by class name.

    Raises:
        UserError: there are no folders, or one has no image.
    """
    classes: dict[str, list[str]] = {}
    others: list[str] = []
    for folder in sorted(visible_entries(root), key=lambda entry: entry.name):
        if not folder.is_dir():
            others.append(folder.path)
            continue
        entries = visible_entries(Path(folder.path))
        files = sorted(entry.path for entry in entries if entry.is_file() and is_image(entry.name))
        others.extend(entry.path for entry in entries if not entry.is_file() or not is_image(entry.name))
        if not files:
            raise UserError(f"{folder.path}: no images in this class; put some there or remove the folder")
        classes[folder.name] = files
    if not classes:
        raise UserError(f"{root}: expected one folder of images for each class, found none")
    if others:
        more = f" and {len(others) - 1} more" if others[1:] else ""
        warnings.warn(printable(f"{root}: skipped files that are not images: {others[0]}{more}"), stacklevel=2)
    return classes


def split_classes(classes: dict[str, list[str]]) -> dict[Split, dict[str, list[str]]]:
    """Split classes 60 / 20 / 20, at least one each, by a hash of their names.

    Args:
        classes: image files by class name.

    Returns:
        Image files by class name, for each split.

    Raises:
        UserError: there are fewer than 3 classes.
    """
    if len(classes) < len(SPLITS):
        raise UserError(f"expected {len(SPLITS)} or more class folders to split into {', '.join(SPLITS)}, got {len(classes)}")
    order = sorted(classes, key=lambda name: hashlib.blake2b(os.fsencode(name)).digest())
    held_out = max(1, round(0.2 * len(order)))
    ends = (len(order) - 2 * held_out, len(order) - held_out, len(order))
    starts = (0, *ends[:-1])
    return {
        split: {name: classes[name] for name in sorted(order[start:end])}
        for split, start, end in zip(SPLITS, starts, ends, strict=True)
    }


def visible_entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, without hidden files and folders.

    Args:
        folder: the folder.

    Returns:
        Its entries, in no order.

    Raises:
        UserError: it is missing or cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error


def is_image(name: str) -> bool:
    """Whether a file is an image, by the end of its name.

    Args:
        name: its name or path.

    Returns:
        True if it ends as those of an image format do, in upper or lower case.
    """
    return os.path.splitext(name)[1].lower() in SUFFIXES
