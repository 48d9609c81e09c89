"""Images that users name by paths: files, folders, class folders and glob patterns."""

import glob
import os
import warnings
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from srwm.data.sets.folder import class_folders, is_image, visible_entries
from srwm.errors import UserError, printable


def named_files(images: object) -> list[str] | None:
    """The image files that paths name.

    Args:
        images: A path, a list or an array of paths, or anything else. A path is that of a file; of a folder of images, or of
            class folders, whose images are taken in alphabetical order; or a glob pattern (`*`, `?`, `[...]`, `**`), whose
            matches are taken in alphabetical order. Hidden files are passed over; a warning names other files of a folder or a
            pattern that are no images by their name.

    Returns:
        The files, one or more; None if `images` are no paths.

    Raises:
        UserError: A file or folder is missing, or has no images.
        ValueError: Paths are mixed with images.
    """
    paths = _paths(images)
    return None if paths is None else [file for path in paths for file in _files(path)]


def labeled_files(images: object) -> tuple[list[str], list[str]]:
    """Image files and their labels: the name of the folder that an image lies in.

    Args:
        images: Paths as for `named_files`.

    Returns:
        The files and the label of each: the first image of every class, then the second, and so on, since a memory reads them
        in this order.

    Raises:
        UserError: As `named_files`.
        ValueError: `images` are no paths.
    """
    files = named_files(images)
    if files is None:
        raise ValueError("labels: expected one per sample, got None; only paths of images have labels, their folders' names")
    classes: dict[str, list[str]] = {}
    for file in files:
        classes.setdefault(Path(file).absolute().parent.name, []).append(file)
    pairs = [[(file, label) for file in members] for label, members in classes.items()]
    ordered = [pair for turn in zip_longest(*pairs) for pair in turn if pair is not None]
    return [file for file, _ in ordered], [label for _, label in ordered]


def _paths(images: object) -> list[str] | None:
    if isinstance(images, str | os.PathLike):
        return [os.fsdecode(images)]
    if isinstance(images, list | tuple):
        members: Iterable[object] = images
    elif getattr(getattr(images, "dtype", None), "kind", "") in ("O", "U") and getattr(images, "ndim", 0) == 1:
        members = iter(images)  # type: ignore[call-overload]  # an array or a column of a data frame
    else:
        return None
    given = list(members)
    paths = [os.fsdecode(member) for member in given if isinstance(member, str | os.PathLike)]
    if paths and len(paths) < len(given):
        raise ValueError(f"images: expected images alone or paths alone, got {len(paths)} paths among {len(given)}")
    return paths or None


def _files(path: str) -> list[str]:
    if os.path.isdir(path):
        return _of_folder(path)
    if os.path.lexists(path):
        return [path]
    if not glob.has_magic(path):
        raise UserError(f"{path}: there is no such file or folder")
    matches = sorted(glob.glob(path, recursive=True))
    folders = [match for match in matches if os.path.isdir(match)]
    images = _images_of([match for match in matches if match not in folders], path)
    found = images or [file for folder in folders for file in _of_folder(folder)]  # `**` matches folders beside their files
    if not found:
        raise UserError(f"{path}: no image matches this pattern")
    return found


def _of_folder(folder: str) -> list[str]:
    entries = sorted(visible_entries(Path(folder)), key=lambda entry: entry.name)
    folders = [entry.path for entry in entries if entry.is_dir()]
    if not folders:
        if images := _images_of([entry.path for entry in entries], folder):
            return images
        raise UserError(f"{folder}: expected images or class folders, found none")
    if beside := [entry.path for entry in entries if entry.is_file() and is_image(entry.name)]:
        raise UserError(f"{folder}: expected images or class folders, got both, such as {beside[0]} and {folders[0]}")
    return [file for files in class_folders(Path(folder)).values() for file in files]


def _images_of(files: list[str], where: str) -> list[str]:
    others = [file for file in files if not is_image(file)]
    if others:
        more = f" and {len(others) - 1} more" if others[1:] else ""
        warnings.warn(printable(f"{where}: skipped files that are not images: {others[0]}{more}"), stacklevel=2)
    return [file for file in files if is_image(file)]
