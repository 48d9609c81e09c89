"""Decoded data sets on disk, mapped into memory: decoded once, shared by every process that reads them."""

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.data.images import ImageClasses
from srwm.data.io.places import cache_dir
from srwm.errors import printable
from srwm.files import remove_leftovers, write_atomically, write_blocks_atomically

Decoded = tuple[dict[str, int], Iterable[NDArray[np.uint8]]]
"""The number of images by class name, and blocks of images (n, C, H, W), sorted by class in the same order."""


def cached_classes(name: str, key: str, decode: Callable[[], Decoded]) -> ImageClasses:
    """Decoded classes, from the cache if it has them under this name and key.

    The images are mapped copy-on-write from a file: writing to them changes neither the file nor other readers. Several
    processes may call at once. Where nothing can be written, a warning says so and the images are in memory.

    Args:
        name: the name of the data set and split.
        key: changes with the files and with the form of the decoded images (`files_key`).
        decode: decodes the data set; called where the cache lacks it.

    Returns:
        The classes under `name`; control characters of class names are escaped.

    Raises:
        OSError: the file in the cache was deleted while it was read.
    """
    path = cache_dir() / f"{name}-{key}.npy"
    data = _read(name, path)
    if data is not None:
        return data
    counts, blocks = decode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, older_than=3600)
        write_atomically(path.with_suffix(".json"), json.dumps(counts).encode())
        write_blocks_atomically(path, _npy(sum(counts.values()), blocks))
    except OSError as error:
        warnings.warn(f"decoded images cannot be cached: {error}", stacklevel=3)
        counts, blocks = decode()
        return _classes(name, np.concatenate(list(blocks)), counts)
    written = _read(name, path)
    if written is None:
        raise OSError(f"{path}: was deleted while it was read")
    return written


def files_key(form: str, root: Path, paths: Iterable[str]) -> str:
    """A key of the cache that changes whenever a file is changed, renamed or replaced.

    The inode and the time of its last change distinguish files of equal size and modification time, as `cp -p` and `rsync -t`
    create them.

    Args:
        form: a description of the decoding, on which the decoded images depend too.
        root: the folder below which names are compared.
        paths: the files, in order.

    Returns:
        16 hexadecimal digits.

    Raises:
        OSError: a file is missing.
    """
    digest = hashlib.blake2b(form.encode(), digest_size=8)
    for path in paths:
        status = os.stat(path)
        digest.update(os.fsencode(os.path.relpath(path, root)))
        numbers = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(f"\0{numbers}\n".encode())
    return digest.hexdigest()


def read_cache(path: Path) -> dict[str, NDArray[Any]] | None:
    """Read arrays that `write_cache` wrote.

    Args:
        path: the file.

    Returns:
        The arrays by name; None if they are missing or cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def write_cache(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to the cache. A warning says so if that is not possible.

    Args:
        path: the file.
        arrays: the arrays by name.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, older_than=3600)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        warnings.warn(f"{path.name} cannot be cached: {error}", stacklevel=4)


def _read(name: str, path: Path) -> ImageClasses | None:
    try:
        counts = json.loads(path.with_suffix(".json").read_bytes())
        return _classes(name, np.load(path, mmap_mode="c", allow_pickle=False), counts)
    except (OSError, ValueError, EOFError, TypeError, AttributeError):
        return None


def _classes(name: str, images: NDArray[np.uint8], counts: dict[str, int]) -> ImageClasses:
    return ImageClasses(name, images, np.cumsum([0, *counts.values()], dtype=np.int64), tuple(map(printable, counts)))


def _npy(count: int, blocks: Iterable[NDArray[np.uint8]]) -> Iterator[bytes | memoryview]:
    """An array file, block after block: a full disk is an error then, where a mapped file would end the process."""
    header = io.BytesIO()
    for block in blocks:
        if not header.tell():
            described = {"descr": "|u1", "fortran_order": False, "shape": (count, *block.shape[1:])}
            np.lib.format.write_array_header_1_0(header, described)  # type: ignore[no-untyped-call]
            yield header.getvalue()
        yield np.ascontiguousarray(block).data
