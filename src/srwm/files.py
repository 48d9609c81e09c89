"""Writing files so that a reader never meets half of one."""

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` as a whole or not at all. Raises as `write_blocks_atomically`."""
    write_blocks_atomically(path, [content])


def write_blocks_atomically(path: Path, blocks: Iterable[bytes | memoryview]) -> None:
    """Put blocks, one after the other, at `path` as a whole or not at all: temporary file in the same folder, fsync, rename.

    Raises OSError (disk full, no permission...), and what making a block raises; what was at `path` before is then still there.
    """
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
