"""Downloading a public archive once, checked and unpacked safely."""

import os
import shutil
import tarfile
import tempfile
import textwrap
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from srwm.errors import UserError

MAX_UNPACKED = 2**32


def fetch_archive(url: str, checksum: str, folder: Path, name: str) -> None:
    """Download the zip or tar archive at `url` and place its top-level folder `name` in `folder`, whole or not at all.

    checksum: "md5:..." or "sha256:...". Safe with several processes at once.
    Raises UserError where there is no network, the checksum differs or the archive is not as expected.
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


def unpack(archive: Path, folder: Path) -> None:
    """Extract the files and folders of a zip or tar archive.

    Raises ValueError, before anything is written, where a member would land outside `folder`, is a link or a device, or
    the whole would take over 4 GiB, and where the archive is damaged.
    """
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        else:
            _unpack_tar(archive, folder)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise ValueError(f"{archive.name} is damaged: {error}") from error


def _unpack_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        _check_members(archive, folder, {member.filename: member.file_size for member in members})
        content.extractall(folder)


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        members = []
        for member in content:
            if not (member.isfile() or member.isdir()) or member.issparse():
                raise ValueError(f"unsafe member in {archive.name}: {member.name} is neither a plain file nor a folder")
            _check_members(archive, folder, {member.name: member.offset_data + member.size})
            members.append(member)
        for member in members:
            target = folder / member.name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            source = content.extractfile(member)
            assert source is not None
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _check_members(archive: Path, folder: Path, sizes: dict[str, int]) -> None:
    root = folder.resolve()
    for name in sizes:
        if not (root / name).resolve().is_relative_to(root):
            raise ValueError(f"unsafe path in {archive.name}: {name}")
    if sum(sizes.values()) > MAX_UNPACKED:
        raise ValueError(f"{archive.name} would unpack to over {MAX_UNPACKED / 2**30:g} GiB")


def _place(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise ValueError(f"the archive holds no folder {source.name}")
    try:
        os.rename(source, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source)
