import errno
import os
import time

import numpy as np
import pytest
import torch

from srwm.data.io.cache import cached_classes, files_key, read_cache, write_cache
from srwm.data.io.places import cache_dir

IMAGES = np.arange(5 * 12, dtype=np.uint8).reshape(5, 3, 2, 2)


def decode():
    return {"b": 2, "a": 3}, iter((IMAGES[:3], IMAGES[3:]))


def never():
    raise AssertionError("read again, not from the cache")


def test_classes_come_back_as_they_were_decoded():
    for data in (cached_classes("set", "key", decode), cached_classes("set", "key", never)):
        assert data.name == "set"
        assert data.class_names == ("b", "a")
        assert data.counts.tolist() == [2, 3]
        assert np.array_equal(data.images, IMAGES)
    with pytest.raises(AssertionError, match="read again"):
        cached_classes("set", "another key", never)


def test_images_serve_torch_without_a_warning_and_stay_as_they_are():
    data = cached_classes("set", "key", decode)
    tensor = torch.from_numpy(data.images)
    tensor[0] = 99
    assert np.array_equal(cached_classes("set", "key", never).images, IMAGES)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\x93NUMPY garbage", "half", "gone"])
def test_a_damaged_cache_is_made_again(suffix, damage):
    cached_classes("set", "key", decode)
    (path,) = cache_dir().glob(f"set-*{suffix}")
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    assert np.array_equal(cached_classes("set", "key", decode).images, IMAGES)
    assert path.read_bytes() == whole


def test_a_cache_of_pickled_objects_is_not_opened():
    cached_classes("set", "key", decode)
    (path,) = cache_dir().glob("set-*.npy")
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    assert np.array_equal(cached_classes("set", "key", decode).images, IMAGES)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_full_disk_is_a_warning(monkeypatch, fails_at):
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) >= fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="cannot be cached"):
        data = cached_classes("set", "key", decode)
    assert np.array_equal(data.images, IMAGES)
    assert not list(cache_dir().glob("*.npy"))
    assert not list(cache_dir().glob(".*"))


def test_a_stop_amid_decoding_leaves_nothing():
    def stopped():
        yield IMAGES[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_classes("set", "key", lambda: ({"b": 2, "a": 3}, stopped()))
    assert np.array_equal(cached_classes("set", "key", decode).images, IMAGES)
    assert len(os.listdir(cache_dir())) == 2


def test_the_key_follows_form_name_size_and_time(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    os.utime(path, ns=(1, 1))
    keys = [files_key("form", tmp_path, [str(path)]), files_key("form 2", tmp_path, [str(path)])]
    assert files_key("form", tmp_path, [str(path)]) == keys[0]
    os.utime(path, ns=(1, 2))
    keys.append(files_key("form", tmp_path, [str(path)]))
    path.write_bytes(b"12")
    os.utime(path, ns=(1, 2))
    keys.append(files_key("form", tmp_path, [str(path)]))
    os.rename(path, tmp_path / "b")
    keys.append(files_key("form", tmp_path, [str(tmp_path / "b")]))
    assert len(set(keys)) == 5


@pytest.mark.parametrize("replaced", ["by another file", "in place"])
def test_the_key_follows_content_of_equal_size_and_time(tmp_path, replaced):
    path, other = tmp_path / "a", tmp_path / "other"
    path.write_bytes(b"1")
    os.utime(path, ns=(1, 1))
    before = files_key("form", tmp_path, [str(path)])
    if replaced == "by another file":
        other.write_bytes(b"2")
        os.utime(other, ns=(1, 1))
        os.replace(other, path)
    else:
        time.sleep(0.02)  # the clock of a file system may tick a hundred times a second
        path.write_bytes(b"2")
        os.utime(path, ns=(1, 1))
    assert path.stat().st_mtime_ns == 1
    assert files_key("form", tmp_path, [str(path)]) != before


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 garbage", None])
def test_a_damaged_cache_is_none(tmp_path, damage):
    path = tmp_path / "arrays.npz"
    assert read_cache(path) is None
    write_cache(path, {"a": np.arange(99)})
    kept = read_cache(path)
    assert kept is not None
    assert np.array_equal(kept["a"], np.arange(99))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert read_cache(path) is None
