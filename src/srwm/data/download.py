"""Downloading a public archive once, checked and unpacked safely."""

import os
import shutil
import tempfile
import textwrap
import zipfile
from pathlib import Path

from srwm.data.errors import UserError


def fetch_archive(url: str, checksum: str, folder: Path, name: str) -> None:
    """Download the zip archive at `url` and place its top-level folder `name` in `folder`, whole or not at all.

    checksum: "md5:..." or "sha256:...". Safe with several processes at once.
    Raises UserError where there is no network, the checksum differs or the archive is not as expected.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
            archive = pooch.retrieve(url, checksum, fname=f"{name}.zip", path=temporary, progressbar=True)
            unpacked = Path(temporary, "unpacked")
            unpack(Path(archive), unpacked)
            _place(unpacked / name, folder / name)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = textwrap.shorten(str(error), 120, placeholder=" ...")
        raise UserError(f"cannot download {url} ({reason}); fetch it yourself, unpack it in {folder}, and try again") from error


def unpack(archive: Path, folder: Path) -> None:
    """Extract a zip archive; raises ValueError, before anything is written, if a member would land outside `folder`."""
    with zipfile.ZipFile(archive) as content:
        root = folder.resolve()
        for member in content.namelist():
            if not (root / member).resolve().is_relative_to(root):
                raise ValueError(f"unsafe path in {archive.name}: {member}")
        content.extractall(folder)


def _place(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise ValueError(f"the archive holds no folder {source.name}")
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source)
