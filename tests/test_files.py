import errno
import os

import pytest

from srwm.files import remove_leftovers, write_atomically, write_blocks_atomically


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
