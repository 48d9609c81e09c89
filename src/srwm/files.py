"""Where data lives on this machine, and writing files so that a reader never meets half of one."""

import errno
import io
import os
import secrets
import time
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError


def cache_dir() -> Path:
    """The folder for downloads and decoded arrays: `$XDG_CACHE_HOME/srwm`, or `~/.cache/srwm`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "srwm"


def named_folder(data_dir: Path | None) -> Path | None:
    """The folder that the user names for data: `data_dir`, else `$SRWM_DATA`; None where neither does."""
    return data_dir or (Path(os.environ["SRWM_DATA"]) if os.environ.get("SRWM_DATA") else None)


def check_regular(path: Path) -> None:
    """Raise UserError where something other than a file is at `path`: reading a pipe waits for ever."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: expected a file, got a folder, pipe or device")


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` as a whole or not at all. Raises as `write_blocks_atomically`."""
    write_blocks_atomically(path, [content])


def write_blocks_atomically(path: Path, blocks: Iterable[bytes | memoryview]) -> None:
    """Put blocks, one after the other, at `path` as a whole or not at all: temporary file in the same folder, fsync, rename.

    Raises OSError (disk full, no permission, a link, folder or device at `path`...), and what making a block raises; what was
    at `path` before is then still there.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(errno.EINVAL, "a link, folder or device is there, and would be replaced", str(path))
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("xb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        _sync_folder(path.parent)


def remove_leftovers(folder: Path, older_than: float = 0.0) -> None:
    """Delete the temporary files in `folder` that a killed `write_atomically` left `older_than` seconds ago or earlier."""
    for path in folder.glob(".*.tmp"):
        try:
            if path.is_file() and time.time() - path.stat().st_mtime >= older_than:
                path.unlink()
        except OSError:  # another process was quicker, or owns it
            continue


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
