"""FC100 and CIFAR-FS: the 100 classes x 600 images of CIFAR-100 (Krizhevsky, 2009), split in two ways."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srwm.data.images import SPLITS, ImageClasses, Split
from srwm.data.io.archive import unpack
from srwm.data.io.cache import Decoded, cached_classes, files_key
from srwm.data.io.download import fetch_archive
from srwm.data.io.places import cache_dir, named_folder
from srwm.data.io.safe_pickle import load_pickle, text, whole_numbers
from srwm.errors import UserError

SIDE = 32
CLASSES = 100
SUPERCLASSES = 20
IMAGES_PER_CLASS = 600
FOLDER = "cifar-100-python"
_ARCHIVE = f"{FOLDER}.tar.gz"
_URL = f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}"
_CHECKSUM = "md5:eb9058c3a382ffc7106e4002c42a8d85"
_FILES = ("train", "test", "meta")
_FORM = f"1: RGB, {SIDE}x{SIDE}"

FC100_SUPERCLASSES: dict[Split, tuple[int, ...]] = {
    "train": (1, 2, 3, 4, 5, 6, 9, 10, 15, 17, 18, 19),
    "val": (8, 11, 13, 16),
    "test": (0, 7, 12, 14),
}
CIFARFS_HELD_OUT: dict[Split, tuple[str, ...]] = {
    "val": (
        *("beaver", "beetle", "butterfly", "camel", "cattle", "crab", "crocodile", "flatfish"),
        *("lamp", "maple_tree", "motorcycle", "otter", "sea", "shark", "television", "tractor"),
    ),
    "test": (
        *("baby", "bed", "bicycle", "chimpanzee", "fox", "leopard", "man", "pickup_truck", "plain", "poppy"),
        *("rocket", "rose", "snail", "sweet_pepper", "table", "telephone", "wardrobe", "whale", "woman", "worm"),
    ),
}


class _Cifar100(NamedTuple):
    images: NDArray[np.uint8]
    fine: NDArray[np.int64]
    coarse: NDArray[np.int64]
    names: list[str]


def load_fc100(data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """60 / 20 / 20 classes of 600 images (3, 32, 32), no superclass in two splits (Oreshkin et al., 2018, TADAM).

    Decoded once and mapped from the cache.

    Args:
        data_dir: a folder that holds `cifar-100-python/` or `cifar-100-python.tar.gz`, or one of these; None: `$SRWM_DATA`,
            else the cache, into which the official archive is downloaded once.

    Returns:
        The classes by split.

    Raises:
        UserError: there is no data, it is damaged or of another form, or the download fails.
    """

    def split_of(name: str, superclass: int) -> Split:
        return next(split for split, superclasses in FC100_SUPERCLASSES.items() if superclass in superclasses)

    return _load("fc100", data_dir, split_of, {"train": 60, "val": 20, "test": 20})


def load_cifarfs(data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """64 / 16 / 20 classes of 600 images (3, 32, 32), split at random by Bertinetto et al. (2019), R2-D2.

    The lists of classes are those of pytorch-meta (torchmeta/datasets/assets/cifar100/cifar-fs), equal in other repositories.
    Decoded once and mapped from the cache.

    Args:
        data_dir: as in `load_fc100`.

    Returns:
        The classes by split.

    Raises:
        UserError: as `load_fc100`.
    """

    def split_of(name: str, superclass: int) -> Split:
        return next((split for split, names in CIFARFS_HELD_OUT.items() if name in names), "train")

    return _load("cifar-fs", data_dir, split_of, {"train": 64, "val": 16, "test": 20})


def find_cifar100(data_dir: Path | None = None) -> Path:
    """The unpacked folder of CIFAR-100's Python version, or its archive; downloads it if no folder is named.

    Args:
        data_dir: as in `load_fc100`.

    Returns:
        The folder or the archive.

    Raises:
        UserError: a named folder holds neither, or the download fails.
    """
    named = named_folder(data_dir)
    if named is not None:
        for place in (named / FOLDER, named / "cifar100" / FOLDER, named):
            if all((place / file).is_file() for file in _FILES):
                return place
        for place in (named / _ARCHIVE, named / "cifar100" / _ARCHIVE, named):
            if place.is_file():
                return place
        raise UserError(
            f"{named}: no CIFAR-100 here; put {_ARCHIVE} from {_URL} in this folder, "
            "or name no folder (--data-dir, SRWM_DATA) to have it downloaded"
        )
    if not (cache_dir() / FOLDER).is_dir():
        fetch_archive(_URL, _CHECKSUM, cache_dir(), FOLDER)
    return cache_dir() / FOLDER


def _load(
    name: str, data_dir: Path | None, split_of: Callable[[str, int], Split], expected: dict[Split, int]
) -> dict[Split, ImageClasses]:
    place = find_cifar100(data_dir)
    paths = [place] if place.is_file() else [place / file for file in _FILES]
    key = files_key(_FORM, place.parent, map(str, paths))
    content = functools.cache(lambda: _read(place))

    def decode(split: Split) -> Decoded:
        data = content()
        members = {label: (data.fine == label).nonzero()[0] for label in range(len(data.names))}
        chosen = {
            label: index
            for label, index in members.items()
            if len(index) and split_of(data.names[label], int(data.coarse[index[0]])) == split
        }
        counts = {data.names[label]: len(index) for label, index in chosen.items()}
        if len(counts) != expected[split] or set(counts.values()) != {IMAGES_PER_CLASS}:
            raise UserError(
                f"{place}: expected {expected[split]} classes of {IMAGES_PER_CLASS} images to {split} in {name}, "
                f"got {len(counts)} classes with {sum(counts.values())} images; the data set is incomplete"
            )
        return counts, iter([data.images[np.concatenate(list(chosen.values()))]])

    return {split: cached_classes(f"{name}-{split}", key, functools.partial(decode, split)) for split in SPLITS}


def _read(place: Path) -> _Cifar100:
    if place.is_dir():
        return _read_folder(place)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            unpack(place, Path(temporary))
        except (OSError, ValueError) as error:
            raise UserError(f"{place}: cannot be unpacked ({error})") from error
        folder = Path(temporary, FOLDER)
        if not all((folder / file).is_file() for file in _FILES):
            raise UserError(f"{place}: holds no {FOLDER} with {', '.join(_FILES)}")
        return _read_folder(folder)


def _read_folder(folder: Path) -> _Cifar100:
    """The images of train and test together, in this order, with their class and superclass."""
    contents = {file: load_pickle(folder / file) for file in _FILES}
    try:
        fields: dict[str, dict[str, Any]] = {
            file: {text(name): value for name, value in content.items()} for file, content in contents.items()
        }
        meta = fields["meta"]
        names = [text(name) for name in meta["fine_label_names"]]
        if len(set(names)) != CLASSES or len(meta["coarse_label_names"]) != SUPERCLASSES:
            raise ValueError(f"meta: expected the names of {CLASSES} classes and {SUPERCLASSES} superclasses")
        parts = [_part(file, fields[file]) for file in ("train", "test")]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder.name}: not the known form of CIFAR-100 ({type(error).__name__}: {error})") from error
    flat, fine, coarse = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return _Cifar100(flat.reshape(-1, 3, SIDE, SIDE), fine, coarse, names)


def _part(file: str, fields: dict[str, Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Images (N, 3072), classes and superclasses (N,) of one of the files. Raises KeyError or ValueError for another form."""
    flat = fields["data"]
    if not isinstance(flat, np.ndarray) or flat.dtype != np.uint8 or flat.shape[1:] != (3 * SIDE * SIDE,):
        got = f"{flat.dtype} {flat.shape}" if isinstance(flat, np.ndarray) else type(flat).__name__
        raise ValueError(f"{file}: data: expected uint8 (N, {3 * SIDE * SIDE}), got {got}")
    labels = []
    for kind, end in (("fine_labels", CLASSES), ("coarse_labels", SUPERCLASSES)):
        try:
            labels.append(whole_numbers(fields[kind], end))
        except ValueError as error:
            raise ValueError(f"{file}: {kind}: {error}") from error
        if len(labels[-1]) != len(flat):
            raise ValueError(f"{file}: {kind}: expected one for each of {len(flat)} images, got {len(labels[-1])}")
    return flat, labels[0], labels[1]
