"""Mini-ImageNet (Vinyals et al., 2016): 100 classes x 600 images, in the split of Ravi and Larochelle (2017)."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.data.images import SPLITS, ImageClasses, Split, check_apart
from srwm.data.io.cache import Decoded, cached_classes, files_key
from srwm.data.io.decode import read_images
from srwm.data.io.places import cache_dir, named_folder
from srwm.data.io.safe_pickle import load_pickle, text
from srwm.data.sets.folder import class_folders
from srwm.errors import UserError

SIDE = 84
CLASSES: dict[Split, int] = {"train": 64, "val": 16, "test": 20}
IMAGES_PER_CLASS = 600
_FOLDERS = ("mini_imagenet", "mini-imagenet", "miniImageNet", "miniImagenet", "miniimagenet", ".")
_PICKLES: tuple[dict[Split, str], ...] = (
    {split: f"mini-imagenet-cache-{split}.pkl" for split in SPLITS},
    {
        "train": "miniImageNet_category_split_train_phase_train.pickle",
        "val": "miniImageNet_category_split_val.pickle",
        "test": "miniImageNet_category_split_test.pickle",
    },
)
_FORM = f"1: RGB, {SIDE}x{SIDE}, Lanczos"
_AT_ONCE = 1024


def load_mini_imagenet(data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """64 / 16 / 20 classes of 600 images (3, 84, 84); classes are named by their WordNet id, in alphabetical order.

    Read from `data_dir`, else `$SRWM_DATA`, in any of these layouts, in that folder or in `mini_imagenet/` below it:
    {train,val,test}.csv (filename,label) with the images in `images/`, beside the tables or in a folder per class;
    {train,val,test}/<class>/; mini-imagenet-cache-{train,val,test}.pkl; miniImageNet_category_split_*.pickle.
    Decoded once into the cache and mapped from there.
    Raises UserError where there is no data, it is incomplete, or a file is missing, corrupt or not what it should be.
    """
    root = find_mini_imagenet(data_dir)
    names = _pickles(root)
    if names is not None:
        splits = {split: _from_pickle(root / names[split], split) for split in SPLITS}
    else:
        listed = {split: _from_table(root, split) if _has_tables(root) else class_folders(root / split) for split in SPLITS}
        splits = {split: _from_files(root, split, files) for split, files in listed.items()}
    check_apart(root, {split: data.class_names for split, data in splits.items()})
    return splits


def find_mini_imagenet(data_dir: Path | None = None) -> Path:
    """The folder that holds one of the known layouts: `data_dir` (else `$SRWM_DATA`, else the cache) or one below it.

    Raises UserError, which says how to get the data, where there is none: its license forbids to hand it on.
    """
    named = named_folder(data_dir) or cache_dir()
    for root in (named / folder for folder in _FOLDERS):
        if _has_tables(root) or _pickles(root) or all((root / split).is_dir() for split in SPLITS):
            return root
    raise UserError(
        f"{named}: no Mini-ImageNet here. Its license (ImageNet: non-commercial research) does not allow an automatic "
        f"download: get a copy with the Ravi-Larochelle split (train.csv, val.csv, test.csv and a folder images/, or "
        f"mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl) and put it in {named / _FOLDERS[0]}, "
        "or name its folder by --data-dir or SRWM_DATA"
    )


def _has_tables(root: Path) -> bool:
    return all((root / f"{split}.csv").is_file() for split in SPLITS)


def _pickles(root: Path) -> dict[Split, str] | None:
    return next((names for names in _PICKLES if all((root / name).is_file() for name in names.values())), None)


def _from_table(root: Path, split: Split) -> dict[str, list[str]]:
    table = root / f"{split}.csv"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [(row["filename"], row["label"]) for row in csv.DictReader(file)]
    except (KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{table}: expected a table with the columns filename and label ({error})") from error
    places = [root / "images", root]
    classes: dict[str, list[str]] = {}
    for filename, label in rows:
        for part in (filename, label):
            if not part or part != os.path.basename(part) or part in (".", "..") or "\\" in part or "\0" in part:
                raise UserError(f"{table}: expected plain names of files and classes, got {part!r}")
        candidates = (os.path.join(place, *inner) for inner in ((filename,), (label, filename)) for place in places)
        found = next((path for path in candidates if os.path.isfile(path)), None)
        if found is None:
            raise UserError(f"{root / 'images' / filename}: missing, though {table.name} lists it; the data set is incomplete")
        classes.setdefault(label, []).append(found)
    return dict(sorted(classes.items()))


def _from_files(root: Path, split: Split, classes: dict[str, list[str]]) -> ImageClasses:
    paths = [path for files in classes.values() for path in files]
    counts = {label: len(files) for label, files in classes.items()}
    _check(root, split, counts)
    name = f"mini-imagenet-{split}"

    def decode() -> Decoded:
        return counts, read_images(paths, (3, SIDE, SIDE), f"decoding {name}")

    return cached_classes(name, files_key(_FORM, root, paths), decode)


def _from_pickle(path: Path, split: Split) -> ImageClasses:
    def decode() -> Decoded:
        images, classes = _unpickled(path)
        counts = {name: len(members) for name, members in classes.items()}
        _check(path, split, counts)
        return counts, _blocks(images, np.concatenate(list(classes.values())))

    return cached_classes(f"mini-imagenet-{split}", files_key(_FORM, path.parent, [str(path)]), decode)


def _blocks(images: NDArray[np.uint8], index: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(index), _AT_ONCE):
        yield images[index[start : start + _AT_ONCE]].transpose(0, 3, 1, 2)


def _unpickled(path: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]]]:
    """Images (N, 84, 84, 3) uint8 and, for each class in alphabetical order, the positions of its images."""
    content = load_pickle(path)
    try:
        fields: dict[str, Any] = {text(key): value for key, value in content.items()}
        if "image_data" in fields:
            images = fields["image_data"]
            classes = {text(name): np.asarray(members) for name, members in fields["class_dict"].items()}
        else:
            images, labels = fields["data"], np.asarray(fields["labels"])
            names = {int(label): text(name) for name, label in fields.get("catname2label", {}).items()}
            classes = {names.get(int(label), f"{label:03d}"): (labels == label).nonzero()[0] for label in np.unique(labels)}
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(f"images: expected uint8 (N, {SIDE}, {SIDE}, 3)")
        for name, members in classes.items():
            whole = members.ndim == 1 and members.dtype.kind in "iu"
            if not whole or not ((members >= 0) & (members < len(images))).all():
                raise ValueError(f"{name}: expected positions among {len(images)} images")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a known form of Mini-ImageNet ({type(error).__name__}: {error})") from error
    return images, {name: classes[name].astype(np.int64) for name in sorted(classes)}


def _check(where: Path, split: Split, counts: dict[str, int]) -> None:
    if len(counts) != CLASSES[split] or set(counts.values()) != {IMAGES_PER_CLASS}:
        few, most = min(counts.values(), default=0), max(counts.values(), default=0)
        raise UserError(
            f"{where}: expected {CLASSES[split]} classes of {IMAGES_PER_CLASS} images to {split}, got {len(counts)} classes "
            f"of {few} to {most}; the data set is incomplete"
        )
