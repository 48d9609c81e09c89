import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from srwm.data.sets.omniglot import decode, find_omniglot, load_omniglot, vinyals_split
from srwm.data.splits import load_splits
from srwm.errors import UserError


def test_decoded_images_are_small_and_inverted(tiny_omniglot):
    data = decode(tiny_omniglot)
    assert data.images.shape == (60, 1, 28, 28)
    assert data.class_names[2] == "images_evaluation/Angelic/character01"
    assert data.counts.tolist() == [20, 20, 20]
    last = data.of_class(2)[0, 0]
    assert (last[:14, :7] > 250).all(), "ink is bright"
    assert (last[19:] < 5).all()
    assert data.of_class(0)[19].sum() > data.of_class(0)[0].sum(), "images stand in the order of the drawers"


def test_second_reading_comes_from_the_cache(tiny_omniglot, monkeypatch):
    first = decode(tiny_omniglot)
    monkeypatch.setattr("PIL.Image.open", None)
    assert np.array_equal(decode(tiny_omniglot).images, first.images)


def test_centered_images_are_kept_apart(tiny_omniglot):
    page, centered = decode(tiny_omniglot), decode(tiny_omniglot, centered=True)
    assert (page.name, centered.name) == ("omniglot", "omniglot-centered")
    assert not np.array_equal(page.images, centered.images)


def test_a_changed_image_is_read_again(tiny_omniglot):
    first = decode(tiny_omniglot)
    folder = tiny_omniglot / "images_background" / "Greek"
    (folder / "character01" / "0001_01.png").write_bytes((folder / "character02" / "0002_20.png").read_bytes())
    second = decode(tiny_omniglot)
    assert np.array_equal(second.of_class(0)[0], first.of_class(1)[19])


def test_a_cache_that_cannot_be_written_is_a_warning(tiny_omniglot, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be cached"):
        assert len(decode(tiny_omniglot)) == 3


def test_two_processes_decode_at_once(tiny_omniglot):
    program = "import sys, pathlib, srwm.data.sets.omniglot as o; print(o.decode(pathlib.Path(sys.argv[1])).images.sum())"
    command = [sys.executable, "-c", program, str(tiny_omniglot)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sums[0] == sums[1] == f"{decode(tiny_omniglot).images.sum()}\n"


@pytest.mark.parametrize("damage", [b"", b"not a png", None])
def test_a_corrupt_image_is_named(tiny_omniglot, damage):
    path = tiny_omniglot / "images_background" / "Greek" / "character02" / "0002_07.png"
    path.write_bytes(path.read_bytes()[:60] if damage is None else damage)
    with pytest.raises(UserError, match=r"character02/0002_07\.png: not a readable image"):
        decode(tiny_omniglot)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_refused(tiny_omniglot):
    path = tiny_omniglot / "images_background" / "Greek" / "character02" / "0002_07.png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=r"0002_07\.png: not a readable image \(not a regular file\)"):
        decode(tiny_omniglot)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    ("size", "message"), [((100_000, 100_000), "refused, .*more than"), ((1025, 1), "expected 1 to 1024 pixels")]
)
def test_a_bomb_is_refused(tiny_omniglot, size, message, centered):
    path = tiny_omniglot / "images_background" / "Greek" / "character02" / "0002_07.png"
    header = b"IHDR" + struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT"
    )
    with pytest.raises(UserError, match=rf"0002_07\.png: {message}"):
        decode(tiny_omniglot, centered=centered)


def test_postscript_is_refused(tiny_omniglot, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)
    path = tiny_omniglot / "images_background" / "Greek" / "character02" / "0002_07.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(UserError, match=r"0002_07\.png: not a readable image"):
        decode(tiny_omniglot)


def test_an_alphabet_that_is_not_utf_8_is_read(tiny_omniglot):
    folder = tiny_omniglot / "images_background" / "Greek"
    folder.rename(folder.with_name(os.fsdecode(b"Gre\xe9k")))
    assert decode(tiny_omniglot).class_names[0] == r"images_background/Gre\xe9k/character01"


def test_a_missing_image_is_reported(tiny_omniglot):
    (tiny_omniglot / "images_background" / "Greek" / "character02" / "0002_07.png").unlink()
    with pytest.raises(UserError, match=r"Greek/character02: expected 20 images, found 19"):
        decode(tiny_omniglot)


def test_a_missing_character_is_reported(tiny_omniglot):
    with pytest.raises(UserError, match=r"images_background/Alphabet_of_the_Magi/character01: .* missing"):
        load_omniglot(tiny_omniglot)


def test_the_folder_and_the_one_above_are_found(tiny_omniglot, monkeypatch):
    assert find_omniglot(tiny_omniglot) == tiny_omniglot
    assert find_omniglot(tiny_omniglot.parent) == tiny_omniglot
    monkeypatch.setenv("SRWM_DATA", str(tiny_omniglot.parent))
    assert find_omniglot() == tiny_omniglot


def test_a_folder_without_data_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"no Omniglot here; unpack .*github\.com/brendenlake/omniglot"):
        find_omniglot(tmp_path)


def test_the_published_split_is_disjoint_and_complete():
    split = vinyals_split()
    assert {name: len(classes) for name, classes in split.items()} == {"train": 1028, "val": 172, "test": 423}
    assert len({name for classes in split.values() for name in classes}) == 1623


@pytest.mark.slow
def test_real_omniglot(real_data_dir):
    splits = load_omniglot(real_data_dir)
    assert {name: len(data) for name, data in splits.items()} == {"train": 4112, "val": 688, "test": 1692}
    assert all((data.counts == 20).all() for data in splits.values())
    pixels = load_omniglot(real_data_dir, rotations=False)["train"].images
    assert pixels.shape == (20560, 1, 28, 28)
    assert pixels.mean() / 255 == pytest.approx(0.08, abs=0.01)


@pytest.mark.slow
def test_real_omniglot_centered(real_data_dir):
    data = load_splits("omniglot-centered", real_data_dir)["test"]
    assert (data.name, len(data)) == ("omniglot-centered-test", 1692)
    rows, columns = ((data.images[::37, 0] > 100).any(axis) for axis in (2, 1))
    longest = np.maximum(*(part.shape[1] - part[:, ::-1].argmax(1) - part.argmax(1) for part in (rows, columns)))
    assert ((longest >= 20) & (longest <= 24)).mean() > 0.99, "every drawing is brought to one size"
