import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwm.data.images import SPLITS
from srwm.data.sets.folder import load_folder, split_classes
from srwm.data.splits import load_splits
from srwm.errors import UserError

NAMES = [f"class {i}" for i in range(10)]


def fill(root: Path, names=NAMES, mode="RGB", images=3) -> Path:
    for c, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(images):
            Image.new("L", (30 + i, 40), 20 * c + i).convert(mode).save(root / name / f"{i}.png")
    return root


def test_a_folder_of_class_folders_is_split(tmp_path):
    splits = load_splits(f"folder:{fill(tmp_path)}")
    assert [len(splits[split]) for split in SPLITS] == [6, 2, 2]
    assert sorted(name for data in splits.values() for name in data.class_names) == NAMES
    for split, data in splits.items():
        assert data.name == f"{tmp_path}-{split}"
        assert data.image_shape == (3, 84, 84)
        assert data.counts.tolist() == [3] * len(data)
        for c, name in enumerate(data.class_names):
            assert data.of_class(c)[:, 0, 0, 0].tolist() == [20 * NAMES.index(name) + i for i in range(3)]


def test_given_splits_are_kept(tmp_path):
    for split in SPLITS:
        fill(tmp_path / split, [f"{split} {i}" for i in range(4)])
    splits = load_folder(tmp_path)
    assert {split: data.class_names for split, data in splits.items()} == {
        split: tuple(f"{split} {i}" for i in range(4)) for split in SPLITS
    }


def test_a_class_in_two_splits_is_named(tmp_path):
    for split, names in (("train", ["cat", "dog"]), ("val", ["eel"]), ("test", ["dog", "fox"])):
        fill(tmp_path / split, names)
    with pytest.raises(UserError, match="class dog is in two splits"):
        load_folder(tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_gray_images_are_small(tmp_path, mode):
    splits = load_folder(fill(tmp_path, mode=mode))
    assert {data.image_shape for data in splits.values()} == {(1, 28, 28)}
    Image.new("RGB", (9, 9)).save(tmp_path / NAMES[0] / "color.png")
    assert {data.image_shape for data in load_folder(tmp_path).values()} == {(3, 84, 84)}


def test_the_second_reading_comes_from_the_cache(tmp_path, monkeypatch):
    first = load_folder(fill(tmp_path))
    monkeypatch.setattr("PIL.Image.open", None)
    assert all(np.array_equal(data.images, first[split].images) for split, data in load_folder(tmp_path).items())


def test_two_folders_do_not_share_a_cache(tmp_path):
    names = [f"other {i}" for i in range(10)]
    first, second = load_folder(fill(tmp_path / "a")), load_folder(fill(tmp_path / "b", names))
    assert set(first["train"].class_names).isdisjoint(second["train"].class_names)


@pytest.mark.parametrize(
    ("count", "sizes"), [(3, [1, 1, 1]), (4, [2, 1, 1]), (5, [3, 1, 1]), (13, [7, 3, 3]), (50, [30, 10, 10])]
)
def test_the_split_depends_on_the_names_alone(count, sizes):
    classes = {f"c{i}": [f"{i}.png"] for i in range(count)}
    split = split_classes(classes)
    assert [len(split[part]) for part in SPLITS] == sizes
    assert split == split_classes(dict(reversed(classes.items())))
    assert {name: files for part in split.values() for name, files in part.items()} == classes


def test_two_classes_cannot_be_split(tmp_path):
    with pytest.raises(UserError, match="expected 3 or more class folders to split into train, val, test, got 2"):
        load_folder(fill(tmp_path, NAMES[:2]))


def test_other_files_are_reported_and_hidden_ones_passed_over(tmp_path):
    root = fill(tmp_path)
    for path in (root / "notes.txt", root / NAMES[0] / "Thumbs.db", root / NAMES[1] / ".DS_Store", root / ".git" / "x"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (root / NAMES[2] / "folder.png").mkdir()
    os.mkfifo(root / NAMES[3] / "pipe.png")
    (root / NAMES[4] / "broken.png").symlink_to(root / "nowhere")
    with pytest.warns(UserWarning, match=r"skipped files that are not images: .* and 4 more$"):
        splits = load_folder(root)
    assert sum(len(data.images) for data in splits.values()) == 30


def test_links_to_images_and_classes_are_followed(tmp_path):
    root = fill(tmp_path / "images")
    (tmp_path / "links" / "linked").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "links" / "linked" / f"{i}.png").symlink_to(root / NAMES[0] / f"{i}.png")
    for name in NAMES[1:]:
        (tmp_path / "links" / name).symlink_to(root / name)
    assert sum(len(data) for data in load_folder(tmp_path / "links").values()) == 10


def test_a_class_linked_to_its_own_folder_ends(tmp_path):
    root = fill(tmp_path)
    (root / NAMES[0] / "loop").symlink_to(root)
    with pytest.warns(UserWarning, match=r"skipped files that are not images: .*loop$"):
        assert sum(len(data) for data in load_folder(root).values()) == 10


def test_an_empty_class_is_named(tmp_path):
    (fill(tmp_path) / "nothing").mkdir()
    with pytest.raises(UserError, match=r"/nothing: no images in this class"):
        load_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_a_corrupt_image_is_named(tmp_path, content):
    (fill(tmp_path) / NAMES[5] / "1.png").write_bytes(content)
    with pytest.raises(UserError, match=rf"{NAMES[5]}/1\.png: not a readable image"):
        load_folder(tmp_path)


def test_a_folder_of_another_form_is_reported(tmp_path):
    with pytest.raises(UserError, match="none: no such folder"):
        load_folder(tmp_path / "none")
    with pytest.raises(UserError, match="expected one folder of images for each class, found none"):
        load_folder(tmp_path)
    fill(tmp_path / "train")
    with pytest.raises(UserError, match="expected class folders, or the three folders train, val, test"):
        load_folder(tmp_path)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"expected omniglot, .*mini-imagenet, fc100, cifar-fs or folder:PATH, got 'imagenet'"):
        load_splits("imagenet")


@pytest.mark.skipif(os.name != "posix", reason="names are texts here")
def test_names_that_are_not_utf_8_are_read_and_escaped(tmp_path):
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    fill(root, [os.fsdecode(b"\xff%d" % i) + "\x1b" for i in range(3)])
    for path in root.glob("*/0.png"):
        path.rename(path.with_name(os.fsdecode(b"\xfe.png")))
    os.mkdir(os.fsencode(root) + b"/\xff0\x1b/\xfd")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"caf\\xe9: skipped files that are not images: .*caf\\xe9/\\xff0\\x1b/\\xfd$"):
            splits = load_splits(f"folder:{root}")
        assert sorted(name for data in splits.values() for name in data.class_names) == [rf"\xff{i}\x1b" for i in range(3)]
        assert splits["test"].name == rf"{tmp_path}/caf\xe9-test"
    for path in root.glob("*/1.png"):
        path.write_bytes(b"damaged")
    with (
        pytest.warns(UserWarning, match="skipped files"),
        pytest.raises(UserError, match=r"caf\\xe9/\\xff\d\\x1b/1\.png: not a readable image"),
    ):
        load_folder(root)


def test_images_replaced_by_others_of_equal_size_and_time_are_noticed(tmp_path):
    root = tmp_path / "bitmaps"
    bitmaps = [root / name / "1.bmp" for name in NAMES]
    for path in bitmaps:
        path.parent.mkdir(parents=True)
        Image.new("RGB", (30, 40), "black").save(path)
    before = load_folder(root)
    for path in bitmaps:
        status = path.stat()
        Image.new("RGB", (30, 40), "white").save(tmp_path / "other.bmp")
        os.utime(tmp_path / "other.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(tmp_path / "other.bmp", path)
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after = load_folder(root)
    assert {data.images.max() for data in before.values()} == {0}
    assert {data.images.min() for data in after.values()} == {255}
