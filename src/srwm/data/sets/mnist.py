"""MNIST, Fashion-MNIST and KMNIST: ten classes of 28x28 gray images in IDX files (LeCun et al., 1998; Xiao et al., 2017;
Clanuwat et al., 2018)."""

import gzip
import textwrap
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srwm.data.images import ImageClasses
from srwm.data.io.places import cache_dir, named_folder
from srwm.data.io.regular import open_regular
from srwm.errors import UserError

SIDE = 28
CLASSES = 10
Part = Literal["train", "test"]
_PREFIX = {"train": "train", "test": "t10k"}
_MAX_BYTES = 2**28
"""Far above the largest file: no file is read beyond it."""


class _Source(NamedTuple):
    url: str
    checksums: dict[str, str]


def _source(url: str, *md5: str) -> _Source:
    names = [f"{prefix}-{kind}-ubyte.gz" for prefix in _PREFIX.values() for kind in ("images-idx3", "labels-idx1")]
    return _Source(url, dict(zip(names, md5, strict=True)))


SOURCES = {
    "mnist": _source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": _source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "kmnist": _source(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
}
"""Address and MD5 sums of the files of each data set."""


def load_mnist(part: Part, data_dir: Path | None = None, name: str = "mnist") -> ImageClasses:
    """The images of one part by class, bright on black, in the order of the file within each class.

    Args:
        part: "train" or "test". A training set may hold any number of images.
        data_dir: a folder that holds the part's two IDX files, gzipped or not, or a folder `mnist` (or the other name) with
            them; None: `$SRWM_DATA`, else the cache, into which the official files are downloaded once.
        name: "mnist", "fashion-mnist" or "kmnist".

    Returns:
        Ten classes "0" to "9", images (1, 28, 28).

    Raises:
        UserError: the name is unknown, there is no data, it is damaged or of another form, a class has no image, or the
            download fails.
    """
    if name not in SOURCES:
        raise UserError(f"name: expected {', '.join(SOURCES)}, got {name!r}")
    if part not in _PREFIX:
        raise UserError(f"part: expected train or test, got {part!r}")
    places = [_find(f"{_PREFIX[part]}-{kind}-ubyte", data_dir, name) for kind in ("images-idx3", "labels-idx1")]
    images, labels = (read_idx(place) for place in places)
    if images.shape[1:] != (SIDE, SIDE):
        raise UserError(f"{places[0]}: expected images of {SIDE}x{SIDE} pixels, got {images.shape}")
    if labels.shape != images.shape[:1]:
        raise UserError(f"{places[1]}: expected a label for each of {len(images):,} images, got {labels.shape}")
    if missing := sorted(set(range(CLASSES)) - set(labels.tolist())):
        raise UserError(f"{places[1]}: expected images of all {CLASSES} classes, got none of {missing[0]}")
    if labels.max() >= CLASSES:
        raise UserError(f"{places[1]}: expected classes 0 to {CLASSES - 1}, got {int(labels.max())}")
    groups = [images[labels == label][:, None] for label in range(CLASSES)]
    return ImageClasses.from_groups(f"{name}-{part}", groups, [str(label) for label in range(CLASSES)])


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an IDX file of bytes, gzipped if its name ends in .gz.

    Args:
        path: the file.

    Returns:
        The array, of the shape that the file names.

    Raises:
        UserError: the file cannot be read, is damaged, or holds no bytes (its type is another).
    """
    try:
        with open_regular(path) as file:
            opened = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            content = opened.read(_MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise UserError(f"{path}: not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], ">u4").tolist() if len(content) >= start else []
    size = int(np.prod(shape, dtype=object)) if shape else -1
    if len(content) != start + size:
        raise UserError(f"{path}: damaged, expected {shape} bytes after the header, got {max(len(content) - start, 0):,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _find(file: str, data_dir: Path | None, name: str) -> Path:
    named = named_folder(data_dir)
    if named is None:
        return _downloaded(f"{file}.gz", name)
    for folder in (named / name, named):
        for place in (folder / file, folder / f"{file}.gz"):
            if place.is_file():
                return place
    raise UserError(
        f"{named}: no {file}.gz here; put the files of {SOURCES[name].url} in this folder, "
        "or name no folder (--data-dir, SRWM_DATA) to have them downloaded"
    )


def _downloaded(file: str, name: str) -> Path:
    import pooch

    url, checksums = SOURCES[name]
    pooch.get_logger().setLevel("WARNING")
    folder = cache_dir() / name
    try:
        return Path(pooch.retrieve(url + file, f"md5:{checksums[file]}", fname=file, path=folder))
    except (OSError, ValueError) as error:
        reason = textwrap.shorten(str(error), 120, placeholder=" ...")
        raise UserError(
            f"cannot download {url}{file} ({reason}); fetch it yourself, put it in {folder}, and try again"
        ) from error
