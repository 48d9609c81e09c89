"""Atomic writes: a reader never sees a file that is written only in part."""

import errno
import os
import secrets
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from srwm.errors import UserError


def check_regular(path: Path) -> None:
    """Check that a path, if it exists, is a regular file. Reading a pipe would block forever.

    Args:
        path: the path.

    Raises:
        UserError: something other than a file is there.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: expected a file, got a folder, pipe or device")


def check_writable(path: Path) -> None:
    """Check that a file can be written, before its content is computed. What is there is left as it is.

    Args:
        path: the file; it may be missing.

    Raises:
        UserError: its folder is missing or cannot be written to, or something other than a writable file is there.
    """
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path.parent}: there is no such folder")
    check_regular(path)
    if not path.exists():
        check_writable_folder(path.absolute().parent)
    elif not os.access(path, os.W_OK):
        raise UserError(f"cannot write {path}: the file is write-protected")


def check_writable_folder(folder: Path) -> None:
    """Check that files can be made in a folder, before their content is computed.

    Args:
        folder: the folder.

    Raises:
        UserError: they cannot.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror or error}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all.

    Args:
        path: the file.
        content: its content.

    Raises:
        OSError: as `write_blocks_atomically`.
    """
    write_blocks_atomically(path, [content])


def write_blocks_atomically(path: Path, blocks: Iterable[bytes | memoryview]) -> None:
    """Write blocks, one after the other, as a whole or not at all: temporary file in the same folder, fsync, rename.

    Args:
        path: the file.
        blocks: its content, in order.

    Raises:
        OSError: the disk is full, there is no permission, or a link, folder or device is at `path`. What was at `path` before
            is still there, also where making a block raises.
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
    """Delete temporary files that a killed `write_atomically` left in a folder.

    Args:
        folder: the folder.
        older_than: least age in seconds of the files that are deleted.
    """
    for path in folder.glob(".*.tmp"):
        try:
            if path.is_file() and time.time() - path.stat().st_mtime >= older_than:
                path.unlink()
        except OSError:  # another process was quicker, or owns it
            continue


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
