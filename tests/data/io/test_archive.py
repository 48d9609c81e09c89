import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from srwm.data.io.archive import unpack

CONTENT = {"set/a/1.png": b"one" * 1000, "set/b/2.png": b"", "set/meta": b"three"}


def member(name: str, size: int) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    return made


def packed(path: Path, form: str) -> Path:
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in CONTENT.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, f"w:{form}") as archive:
        for name, content in CONTENT.items():
            archive.addfile(member(name, len(content)), io.BytesIO(content))
    return path


@pytest.mark.parametrize("form", ["zip", "", "gz", "bz2", "xz"])
def test_every_form_is_unpacked(tmp_path, form):
    unpack(packed(tmp_path / "archive", form), tmp_path / "here")
    assert {name: (tmp_path / "here" / name).read_bytes() for name in CONTENT} == CONTENT


@pytest.mark.parametrize("form", ["zip", "", "gz", "bz2", "xz"])
@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_archive_is_a_value_error(tmp_path, form, seed):
    path = packed(tmp_path / "archive", form)
    content = bytearray(path.read_bytes())
    position = seed * len(content) // 10
    content[position] ^= 0xFF
    path.write_bytes(content if seed % 2 else content[:position])
    try:
        unpack(path, tmp_path / "here")
    except ValueError as error:
        assert str(error)  # noqa: PT017


def test_an_encrypted_zip_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", "zip")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = 0
        while (start := content.find(signature, start)) >= 0:
            content[start + offset] |= 1
            start += 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip is damaged: .*encrypted"):
        unpack(path, tmp_path / "here")


def test_an_unknown_compression_is_refused(tmp_path):
    path = packed(tmp_path / "a.zip", "zip")
    content = path.read_bytes().replace(b"\0\x08\0", b"\0\x63\0")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip is damaged: .*compression"):
        unpack(path, tmp_path / "here")


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/tmp/outside-of-srwm", "a/.."])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, form, name):
    path = tmp_path / "evil"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside", b"")
            archive.writestr(name, b"")
    else:
        with tarfile.open(path, "w") as archive:
            archive.addfile(member("inside", 0))
            archive.addfile(member(name, 0))
    with pytest.raises(ValueError, match="unsafe path"):
        unpack(path, tmp_path / "here")
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "here").exists()


def huge_header(path: Path, kind: bytes) -> Path:
    """A tar archive whose one header has 256 MiB of zeros, in a few hundred KB."""
    header = member("x", 2**28)
    header.type = kind
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(2**4):
            file.write(bytes(2**24))
        file.write(member("y", 0).tobuf() + bytes(1024))
    return path


LIMITED = """
import resource, sys
from pathlib import Path
from srwm.data.io.archive import unpack

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
except ValueError as error:
    print(error)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in other units elsewhere")
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_huge_header_is_refused_before_it_is_in_memory(tmp_path, kind):
    command = [sys.executable, "-c", LIMITED, huge_header(tmp_path / "bomb", kind), tmp_path / "here"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    assert said == "the archive has headers of over 67108864 bytes\n"
    assert not (tmp_path / "here").exists()


def test_a_directory_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("srwm.data.io.archive._MAX_ZIP_DIRECTORY", 200)
    with pytest.raises(ValueError, match="the archive has headers of over 200 bytes"):
        unpack(packed(tmp_path / "archive", "zip"), tmp_path / "here")


@pytest.mark.parametrize("form", ["zip", "gz"])
def test_an_archive_of_too_many_members_is_refused(tmp_path, monkeypatch, form):
    monkeypatch.setattr("srwm.data.io.archive.MAX_MEMBERS", 2)
    with pytest.raises(ValueError, match="archive has over 2 members"):
        unpack(packed(tmp_path / "archive", form), tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("form", ["zip", "gz"])
def test_an_archive_that_takes_too_much_is_refused(tmp_path, monkeypatch, form):
    monkeypatch.setattr("srwm.data.io.archive.MAX_UNPACKED", 2000)
    with pytest.raises(ValueError, match="archive would unpack to over"):
        unpack(packed(tmp_path / "archive", form), tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        unpack(tmp_path / "pipe", tmp_path / "here")
