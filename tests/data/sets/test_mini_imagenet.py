import csv
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srwm.data.images import SPLITS
from srwm.data.io.places import cache_dir
from srwm.data.sets import mini_imagenet
from srwm.data.sets.mini_imagenet import find_mini_imagenet, load_mini_imagenet
from srwm.errors import UserError

CLASSES = {"train": ["n03", "n01", "n07"], "val": ["n04", "n02"], "test": ["n06", "n05"]}
IMAGES = 3


@pytest.fixture(autouse=True)
def small(request, monkeypatch):
    """The published numbers of classes and images are checked: here smaller ones are."""
    if "real_data_dir" not in request.fixturenames:
        monkeypatch.setattr(mini_imagenet, "CLASSES", {split: len(names) for split, names in CLASSES.items()})
        monkeypatch.setattr(mini_imagenet, "IMAGES_PER_CLASS", IMAGES)


def color(name: str, number: int) -> tuple[int, int, int]:
    return 30 * int(name[1:]), 100 + 20 * number, 250 - 30 * int(name[1:])


def save(path: Path, name: str, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (84, 84), color(name, number)).save(path, quality=95)


def with_tables(root: Path, place: str) -> Path:
    for split, names in CLASSES.items():
        rows = [(f"{name}{number:08d}.jpg", name) for number in range(IMAGES) for name in names]
        root.mkdir(parents=True, exist_ok=True)
        with (root / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("filename", "label"), *rows])
        for filename, name in rows:
            save(root / place.format(name) / filename, name, int(filename[3:-4]))
    return root


def with_folders(root: Path) -> Path:
    for split, names in CLASSES.items():
        for name in names:
            for number in range(IMAGES):
                save(root / split / name / f"{number}.png", name, number)
    return root


def with_pickles(root: Path, protocol: int, kind: str) -> Path:
    root.mkdir()
    for split, names in CLASSES.items():
        order = [(name, number) for number in range(IMAGES) for name in names]
        images = np.stack([np.full((84, 84, 3), color(*which), np.uint8) for which in order])
        if kind == "cache":
            members = {name: [i for i, (other, _) in enumerate(order) if other == name] for name in names}
            content = {"image_data": images, "class_dict": members}
            path = root / f"mini-imagenet-cache-{split}.pkl"
        else:
            labels = [10 + names.index(name) for name, _ in order]
            content = {"data": images, "labels": labels, "catname2label": {name: 10 + i for i, name in enumerate(names)}}
            path = root / f"miniImageNet_category_split_{'train_phase_train' if split == 'train' else split}.pickle"
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    return root


LAYOUTS = {
    "tables, images in a folder": lambda root: with_tables(root, "images"),
    "tables, images beside them": lambda root: with_tables(root, "."),
    "tables, class folders": lambda root: with_tables(root, "{}"),
    "tables, class folders in a folder": lambda root: with_tables(root, "images/{}"),
    "class folders": with_folders,
    "pickled cache": lambda root: with_pickles(root, 2, "cache"),
    "pickled cache, new protocol": lambda root: with_pickles(root, 5, "cache"),
    "pickled by category": lambda root: with_pickles(root, 4, "category"),
}


@pytest.fixture
def root(tmp_path) -> Path:
    return with_tables(tmp_path / "mini_imagenet", "images")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_alike_and_once(layout, tmp_path, monkeypatch):
    root = LAYOUTS[layout](tmp_path / "mini_imagenet")
    first = load_mini_imagenet(tmp_path)
    for split, names in CLASSES.items():
        data = first[split]
        assert data.class_names == tuple(sorted(names))
        assert data.counts.tolist() == [IMAGES] * len(names)
        assert data.images.shape == (IMAGES * len(names), 3, 84, 84)
        for c, name in enumerate(data.class_names):
            expected = np.array([color(name, number) for number in range(IMAGES)])
            assert np.abs(data.of_class(c) - expected[:, :, None, None].astype(int)).max() <= 3
    monkeypatch.setattr("PIL.Image.open", None)
    monkeypatch.setattr(mini_imagenet, "load_pickle", None)
    second = load_mini_imagenet(root)
    assert all(np.array_equal(first[split].images, second[split].images) for split in SPLITS)


def test_a_larger_image_is_resized(root):
    Image.new("L", (200, 100), 77).save(root / "images" / "n0100000001.jpg")
    image = load_mini_imagenet(root)["train"].of_class(0)[1]
    assert image.shape == (3, 84, 84)
    assert np.abs(image.astype(int) - 77).max() <= 1


def test_a_changed_image_is_read_again(root):
    before = load_mini_imagenet(root)["train"].of_class(0)[0].copy()
    save(root / "images" / "n0100000000.jpg", "n07", 2)
    after = load_mini_imagenet(root)["train"].of_class(0)[0]
    assert np.abs(after.astype(int) - before).max() > 50


def test_two_processes_decode_at_once(root):
    program = (
        "import sys; from pathlib import Path; import srwm.data.sets.mini_imagenet as m; "
        f"m.CLASSES = {dict(zip(SPLITS, (3, 2, 2), strict=True))}; m.IMAGES_PER_CLASS = {IMAGES}; "
        "print(sum(int(data.images.sum()) for data in m.load_mini_imagenet(Path(sys.argv[1])).values()))"
    )
    both = [subprocess.Popen([sys.executable, "-c", program, root], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sums[0] == sums[1] == f"{sum(int(data.images.sum()) for data in load_mini_imagenet(root).values())}\n"
    assert not list(cache_dir().glob(".*"))


def test_a_missing_image_is_named(root):
    (root / "images" / "n0200000001.jpg").unlink()
    with pytest.raises(UserError, match=r"images/n0200000001\.jpg: missing, though val\.csv lists it"):
        load_mini_imagenet(root)


@pytest.mark.parametrize("damage", [b"", b"not a jpeg", None])
def test_a_corrupt_image_is_named(root, damage):
    path = root / "images" / "n0200000001.jpg"
    path.write_bytes(path.read_bytes()[:400] if damage is None else damage)
    with pytest.raises(UserError, match=r"images/n0200000001\.jpg: not a readable image"):
        load_mini_imagenet(root)
    assert not list(cache_dir().glob("*val*.npy"))


@pytest.mark.parametrize(
    "row",
    [("../a.jpg", "n01"), ("/etc/passwd", "n01"), ("a.jpg", "../n01"), ("", "n01"), ("..", "n01"), ("a\\b.jpg", "n")],
)
def test_a_table_that_points_elsewhere_is_refused(root, row):
    with (root / "train.csv").open("a", newline="") as file:
        csv.writer(file).writerow(row)
    with pytest.raises(UserError, match=r"train\.csv: expected plain names"):
        load_mini_imagenet(root)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"filename,label\nalone.jpg\n", b"\xff\xfe\x00"])
def test_a_table_of_another_form_is_reported(root, content):
    (root / "train.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"train\.csv: expected"):
        load_mini_imagenet(root)


def test_an_incomplete_set_is_reported(tmp_path):
    root = with_folders(tmp_path / "mini")
    (root / "val" / "n02" / "0.png").unlink()
    with pytest.raises(UserError, match=r"expected 2 classes of 3 images to val, got 2 classes of 2 to 3; .* incomplete"):
        load_mini_imagenet(root)
    root = with_tables(tmp_path / "tables", "images")
    (root / "train.csv").write_text("filename,label\n")
    with pytest.raises(UserError, match=r"expected 3 classes of 3 images to train, got 0 classes of 0 to 0; .* incomplete"):
        load_mini_imagenet(root)


def test_a_class_in_two_splits_is_reported(tmp_path):
    root = with_folders(tmp_path / "mini")
    os.rename(root / "test" / "n05", root / "test" / "n01")
    with pytest.raises(UserError, match="class n01 is in two splits"):
        load_mini_imagenet(root)


def test_no_data_says_how_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no Mini-ImageNet here\. Its license .* get a copy .*train\.csv"):
        find_mini_imagenet(tmp_path)
    monkeypatch.setenv("SRWM_DATA", str(with_folders(tmp_path / "mini-imagenet").parent))
    assert find_mini_imagenet() == tmp_path / "mini-imagenet"


ODD = (
    np.ones(3, bool),
    np.ones(3, np.float32),
    np.ones((3, 1), np.int64),
    np.full(3, 2**64 - 1, np.uint64),
    [True, False],
    [[0]],
    [2**64],
    [],
    "012",
    None,
)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image_data", np.zeros((9, 32, 32, 3), np.uint8), "expected uint8"),
        ("image_data", np.zeros((9, 84, 84, 3), np.float32), "expected uint8"),
        ("image_data", [1, 2], "expected uint8"),
        ("class_dict", {"n01": [0, 9]}, "n01: expected positions among 9 images"),
        ("class_dict", {"n01": [-1]}, "n01: expected positions"),
        ("class_dict", {"n01": [0.5]}, "n01: expected positions"),
        *(("class_dict", {"n01": odd}, "n01: expected positions") for odd in ODD),
        ("class_dict", [1], "AttributeError"),
        ("class_dict", {7: [1]}, "expected a string"),
        (None, None, "KeyError"),
    ],
)
def test_a_pickle_of_another_form_is_an_error(tmp_path, field, value, message):
    root = with_pickles(tmp_path / "mini", 4, "cache")
    path = root / "mini-imagenet-cache-train.pkl"
    content = {} if field is None else {**pickle.loads(path.read_bytes()), field: value}
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=rf"mini-imagenet-cache-train\.pkl: not a known form .*{message}"):
        load_mini_imagenet(root)


@pytest.mark.parametrize("labels", [*ODD, [0] * 8, [1000] * 9])
def test_labels_of_another_form_are_reported(tmp_path, labels):
    root = with_pickles(tmp_path / "mini", 4, "category")
    path = root / "miniImageNet_category_split_val.pickle"
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), "labels": labels}))
    with pytest.raises(UserError, match=r"split_val\.pickle: not a known form .*(labels: )?expected"):
        load_mini_imagenet(root)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_a_pickle_that_runs_code_runs_nothing(tmp_path):
    root = with_pickles(tmp_path / "mini", 4, "cache")
    path = root / "mini-imagenet-cache-train.pkl"
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), "note": Touch(tmp_path / "it ran")}))
    with pytest.raises(UserError, match=r"cache-train\.pkl: refused, it asks for builtins\.exec"):
        load_mini_imagenet(root)
    assert not (tmp_path / "it ran").exists()


@pytest.mark.slow
def test_real_mini_imagenet(real_data_dir, monkeypatch):
    if not (real_data_dir / "mini_imagenet").is_dir():
        pytest.skip("SRWM_DATA holds no mini_imagenet")
    with tempfile.TemporaryDirectory() as cache:  # 1.3 GB that pytest would keep
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        splits = load_mini_imagenet(real_data_dir)
        assert {split: data.images.shape for split, data in splits.items()} == {
            "train": (38400, 3, 84, 84),
            "val": (9600, 3, 84, 84),
            "test": (12000, 3, 84, 84),
        }
        assert splits["train"].images[::100].mean((0, 2, 3)) / 255 == pytest.approx([0.47, 0.45, 0.40], abs=0.02)
