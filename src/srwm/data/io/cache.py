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
"""Images per class name, and the images (n, C, H, W) in blocks, sorted by class in the same order."""


def cached_classes(name: str, key: str, decode: Callable[[], Decoded]) -> ImageClasses:
    """The classes that `decode` gives, from the cache where they have been decoded before under this name and key.

    The images are mapped copy-on-write from a file: writing to them changes no other reader and not the file. Safe with
    several processes at once. Where nothing can be written, a warning says so and the images are in memory.
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
        warnings.warn(f"decoded images are not kept for the next time: {error}", stacklevel=3)
        counts, blocks = decode()
        return _classes(name, np.concatenate(list(blocks)), counts)
    written = _read(name, path)
    if written is None:
        raise OSError(f"{path}: vanished while it was read")
    return written


def files_key(form: str, root: Path, paths: Iterable[str]) -> str:
    """A key of the cache that changes whenever a file is changed, renamed or replaced.

    The inode and the time of its last change tell a file from another of equal size and modification time, as `cp -p` and
    `rsync -t` make them.

    Args:
        form: what the decoded images depend on beside the files.
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
    """The arrays that `write_cache` kept at `path`, by name; None where there are none or they cannot be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def write_cache(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays at `path` for the next time; a warning tells where that cannot be done."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, older_than=3600)
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        warnings.warn(f"{path.name} is not kept for the next time: {error}", stacklevel=4)


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
