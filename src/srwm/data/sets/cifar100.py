"""FC100 and CIFAR-FS: the 100 classes x 600 images of CIFAR-100 (Krizhevsky, 2009), split in two ways."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srwm.data.images import SPLITS, ImageClasses, Split
from srwm.data.io.cache import Decoded, cached_classes, files_key
from srwm.data.io.download import fetch_archive, unpack
from srwm.data.io.places import cache_dir, named_folder
from srwm.data.io.safe_pickle import load_pickle, text
from srwm.errors import UserError

SIDE = 32
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

    Read from `data_dir`, else `$SRWM_DATA`, else the cache, into which the official archive is downloaded once. The named
    folder holds `cifar-100-python/` or `cifar-100-python.tar.gz`, or is one of them. Decoded once and mapped from the cache.
    Raises UserError where there is no data, it is damaged or not what it should be, or the download fails.
    """

    def split_of(name: str, superclass: int) -> Split:
        return next(split for split, superclasses in FC100_SUPERCLASSES.items() if superclass in superclasses)

    return _load("fc100", data_dir, split_of, {"train": 60, "val": 20, "test": 20})


def load_cifarfs(data_dir: Path | None = None) -> dict[Split, ImageClasses]:
    """64 / 16 / 20 classes of 600 images (3, 32, 32), split at random by Bertinetto et al. (2019), R2-D2.

    The lists of classes are those in pytorch-meta (torchmeta/datasets/assets/cifar100/cifar-fs), equal in other repositories.
    Read and raises as `load_fc100`.
    """

    def split_of(name: str, superclass: int) -> Split:
        return next((split for split, names in CIFARFS_HELD_OUT.items() if name in names), "train")

    return _load("cifar-fs", data_dir, split_of, {"train": 64, "val": 16, "test": 20})


def find_cifar100(data_dir: Path | None = None) -> Path:
    """The unpacked folder of CIFAR-100's Python version, or its archive; downloaded if no folder is named.

    Raises UserError where a named folder holds neither, or the download fails.
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
        names = [text(name) for name in fields["meta"]["fine_label_names"]]
        parts = [fields["train"], fields["test"]]
        flat = np.concatenate([part["data"] for part in parts])
        fine, coarse = (np.concatenate([part[f"{kind}_labels"] for part in parts]) for kind in ("fine", "coarse"))
        supers = len(fields["meta"]["coarse_label_names"])
        if flat.dtype != np.uint8 or flat.shape != (len(fine), 3 * SIDE * SIDE):
            raise ValueError(f"data: expected uint8 ({len(fine)}, {3 * SIDE * SIDE}), got {flat.dtype} {flat.shape}")
        for kind, labels, end in (("fine", fine, len(names)), ("coarse", coarse, supers)):
            if labels.shape != fine.shape or labels.dtype.kind not in "iu" or not ((labels >= 0) & (labels < end)).all():
                raise ValueError(f"{kind}_labels: expected {len(fine)} whole numbers from 0 to {end - 1}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder.name}: not the known form of CIFAR-100 ({type(error).__name__}: {error})") from error
    return _Cifar100(flat.reshape(-1, 3, SIDE, SIDE), fine.astype(np.int64), coarse.astype(np.int64), names)
