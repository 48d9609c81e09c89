"""Unpacking archives of others: members stay inside the folder, and time, memory and disk are bounded."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
from pathlib import Path, PurePath
from typing import BinaryIO, cast

from srwm.data.io.regular import open_regular

MAX_UNPACKED = 2**30
MAX_MEMBERS = 50_000
_MAX_TAR_HEADERS = 2**26
_MAX_ZIP_DIRECTORY = 2**23
_COMPRESSIONS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))


def unpack(archive: Path, folder: Path) -> None:
    """Extract the files and folders of a zip archive, or of a tar archive, plain or compressed by gzip, bzip2 or xz.

    Args:
        archive: a regular file.
        folder: where its members go; made where it is missing.

    Raises:
        ValueError: before anything is written, where a member would land outside `folder`, is a link or a device, the whole
            would take over 1 GiB, or has over 50,000 members or extraordinary headers; and where the archive is damaged,
            encrypted or of another form.
        OSError: it cannot be read, or the members cannot be written.
    """
    with open_regular(archive) as file:
        try:
            if zipfile.is_zipfile(file):
                _unpack_zip(archive.name, file, folder)
            else:
                _unpack_tar(archive.name, file, folder)
        except Exception as error:  # readers of foreign formats raise anything
            if isinstance(error, _RefusedError) or (isinstance(error, OSError) and error.errno is not None):
                raise
            raise ValueError(f"{archive.name} is damaged: {error}") from error


class _RefusedError(ValueError):
    pass


class _Limited(io.RawIOBase):
    """A file of which no more than `left` bytes are read: headers that are larger are refused before memory is taken."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.left = self._most = most
        self._file = file

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size if 0 <= size <= self.left else self.left + 1)
        if len(content) > self.left:
            raise _RefusedError(f"the archive has headers of over {self._most} bytes")
        self.left -= len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _unpack_zip(name: str, file: BinaryIO, folder: Path) -> None:
    limited = _Limited(file, _MAX_ZIP_DIRECTORY)
    with zipfile.ZipFile(cast(BinaryIO, limited)) as content:
        members = content.infolist()
        _check_count(name, len(members))
        for member in members:
            _check_path(name, member.filename)
        _check_size(name, sum(member.file_size for member in members))
        limited.left = 2**62
        content.extractall(folder)


def _unpack_tar(name: str, file: BinaryIO, folder: Path) -> None:
    with _decompressed(file) as stream:
        limited = _Limited(stream, _MAX_TAR_HEADERS)
        with tarfile.open(fileobj=limited, mode="r:") as content:
            members = []
            for member in content:
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise _RefusedError(f"unsafe member in {name}: {member.name} is neither a plain file nor a folder")
                _check_path(name, member.name)
                _check_size(name, member.offset_data + member.size)
                members.append(member)
                _check_count(name, len(members))
            limited.left = 2**62
            folder.mkdir(parents=True, exist_ok=True)
            for member in members:
                _extract(content, member, folder / member.name)


def _decompressed(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    start = file.read(8)
    file.seek(0)
    opened = next((open_ for magic, open_ in _COMPRESSIONS if start.startswith(magic)), None)
    return file if opened is None else cast(BinaryIO, opened(file))


def _extract(content: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = content.extractfile(member)
    assert source is not None
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)


def _check_path(archive: str, name: str) -> None:
    path = PurePath(name)
    if os.path.isabs(name) or path.drive or ".." in path.parts or "\0" in name:
        raise _RefusedError(f"unsafe path in {archive}: {name}")


def _check_size(archive: str, size: int) -> None:
    if size > MAX_UNPACKED:
        raise _RefusedError(f"{archive} would unpack to over {MAX_UNPACKED / 2**30:g} GiB")


def _check_count(archive: str, count: int) -> None:
    if count > MAX_MEMBERS:
        raise _RefusedError(f"{archive} has over {MAX_MEMBERS} members")
