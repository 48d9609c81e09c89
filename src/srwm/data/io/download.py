"""Downloading a public archive once, with its checksum."""

import os
import shutil
import tempfile
import textwrap
from pathlib import Path, PurePosixPath

from srwm.data.io.archive import unpack
from srwm.errors import UserError


def fetch_archive(url: str, checksum: str, folder: Path, name: str) -> None:
    """Download a zip or tar archive and place one of its folders, whole or not at all; safe with several processes at once.

    Args:
        url: the address of the archive.
        checksum: "md5:..." or "sha256:...".
        folder: where the folder of the archive goes.
        name: the name of that folder, at the top of the archive.

    Raises:
        UserError: there is no network, the checksum differs, or the archive is not as expected.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
            archive = pooch.retrieve(url, checksum, fname=PurePosixPath(url).name, path=temporary, progressbar=True)
            unpacked = Path(temporary, "unpacked")
            unpack(Path(archive), unpacked)
            _place(unpacked / name, folder / name)
    except (OSError, ValueError) as error:
        reason = textwrap.shorten(str(error), 120, placeholder=" ...")
        raise UserError(f"cannot download {url} ({reason}); fetch it yourself, unpack it in {folder}, and try again") from error


def _place(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise ValueError(f"the archive holds no folder {source.name}")
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source)
