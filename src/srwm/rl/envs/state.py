"""States as bytes: named arrays with a check sum, read without executing anything."""

import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(arrays: dict[str, NDArray[Any]]) -> bytes:
    """The arrays as one archive."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def unpack(state: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of `pack`; ValueError where the bytes are damaged or something else."""
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"state: expected what get_state returned, got {len(state)} other or damaged bytes") from error
