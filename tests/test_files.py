import errno
import os
import tempfile

import pytest

from srwm.errors import UserError
from srwm.files import (
    check_regular,
    check_writable,
    check_writable_folder,
    remove_leftovers,
    write_atomically,
    write_blocks_atomically,
)


def test_new_content_replaces_old(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_leftovers_of_a_kill_are_removed_and_nothing_else(tmp_path):
    for name in (".file.12ab34cd.tmp", "file.tmp", ".hidden", "file"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".folder.tmp").mkdir()
    remove_leftovers(tmp_path, older_than=3600)
    assert len(os.listdir(tmp_path)) == 5
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".folder.tmp", ".hidden", "file", "file.tmp"]
    remove_leftovers(tmp_path / "missing")


def test_blocks_become_one_file_or_none(tmp_path):
    path = tmp_path / "file"
    write_blocks_atomically(path, [b"a", memoryview(b"bc")])
    assert path.read_bytes() == b"abc"

    def broken():
        yield b"new"
        raise ValueError("the second block cannot be made")

    with pytest.raises(ValueError, match="second block"):
        write_blocks_atomically(path, broken())
    assert path.read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path, kind):
    path, target = tmp_path / "file", tmp_path / "target"
    if kind == "link":
        target.write_bytes(b"kept")
    if kind in ("link", "dangling"):
        path.symlink_to(target)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    before = os.lstat(path)
    with pytest.raises(OSError, match="a link, folder or device is there"):
        write_atomically(path, b"new")
    assert os.lstat(path).st_ino == before.st_ino
    assert kind != "link" or target.read_bytes() == b"kept"


def test_a_pipe_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        with pytest.raises(UserError, match="expected a file, got a folder, pipe or device"):
            check_regular(tmp_path / name)
    (tmp_path / "file").touch()
    check_regular(tmp_path / "file")
    check_regular(tmp_path / "missing")


def test_a_path_that_can_be_written_stays_as_it_is(tmp_path):
    check_writable(tmp_path / "new")
    (tmp_path / "old").write_bytes(b"kept")
    check_writable(tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"kept"
    assert os.listdir(tmp_path) == ["old"]


def test_what_cannot_be_written_is_refused_beforehand(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"nowhere: there is no such folder$"):
        check_writable(tmp_path / "nowhere" / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: expected a file, got a folder"):
        check_writable(tmp_path / "folder")
    with pytest.raises(UserError, match=r"cannot write into .*nowhere: No such file"):
        check_writable_folder(tmp_path / "nowhere")

    def read_only(**options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(UserError, match=f"cannot write into {tmp_path}: Read-only file system"):
        check_writable(tmp_path / "new")


def test_a_write_protected_file_is_refused_beforehand(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.touch(0o400)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)  # root may write everywhere
    with pytest.raises(UserError, match=f"cannot write {path}: the file is write-protected"):
        check_writable(path)
