"""The folders of data and of the cache."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The folder for downloads and decoded arrays: `$XDG_CACHE_HOME/srwm`, or `~/.cache/srwm`.

    Returns:
        The folder, which may not exist yet.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "srwm"


def named_folder(data_dir: Path | None) -> Path | None:
    """The folder that the user names for data.

    Args:
        data_dir: the folder, or None.

    Returns:
        `data_dir`, else `$SRWM_DATA`, else None.
    """
    return data_dir or (Path(os.environ["SRWM_DATA"]) if os.environ.get("SRWM_DATA") else None)
