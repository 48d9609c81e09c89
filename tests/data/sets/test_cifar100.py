import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from srwm.data.io.places import cache_dir
from srwm.data.sets import cifar100
from srwm.data.sets.cifar100 import CIFARFS_HELD_OUT, FC100_SUPERCLASSES, find_cifar100, load_cifarfs, load_fc100
from srwm.errors import UserError

SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
COARSE = {name: number for number, names in enumerate(SUPERCLASSES.values()) for name in names.split()}
FINE = sorted(COARSE)
IMAGES = {"train": 3, "test": 1}


def contents() -> dict[str, dict[str, object]]:
    """The official layout with few images; red is the class, green the superclass, blue the number of the image."""
    files: dict[str, dict[str, object]] = {
        "meta": {"fine_label_names": FINE, "coarse_label_names": list(SUPERCLASSES)},
    }
    generator = np.random.default_rng(0)
    for file, count in IMAGES.items():
        fine = generator.permutation(np.repeat(np.arange(100), count))
        coarse = np.array([COARSE[FINE[label]] for label in fine])
        number = np.full(len(fine), 200 if file == "test" else 100)
        pixels = np.repeat(np.stack([fine, coarse, number], axis=1), 1024, axis=1).astype(np.uint8)
        files[file] = {
            "data": pixels,
            "fine_labels": fine.tolist(),
            "coarse_labels": coarse.tolist(),
            "filenames": [f"{i}.png" for i in range(len(fine))],
            "batch_label": file,
        }
    return files


def pack(path: Path, members: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(cifar100, "IMAGES_PER_CLASS", sum(IMAGES.values()))


@pytest.fixture
def pickles(python2_pickle) -> dict[str, bytes]:
    return {f"cifar-100-python/{file}": python2_pickle(content) for file, content in contents().items()}


@pytest.fixture
def archive(tmp_path, pickles) -> Path:
    return pack(tmp_path / "cifar-100-python.tar.gz", pickles)


@pytest.fixture
def folder(tmp_path, pickles) -> Path:
    (tmp_path / "cifar-100-python").mkdir()
    for name, content in pickles.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path / "cifar-100-python"


def test_fc100_keeps_superclasses_apart(archive):
    splits = load_fc100(archive.parent)
    assert {split: len(data) for split, data in splits.items()} == {"train": 60, "val": 20, "test": 20}
    for split, data in splits.items():
        assert data.images.shape == (4 * len(data), 3, 32, 32)
        assert {COARSE[name] for name in data.class_names} == set(FC100_SUPERCLASSES[split])
    assert sorted(number for numbers in FC100_SUPERCLASSES.values() for number in numbers) == list(range(20))


def test_cifarfs_has_the_published_classes(archive):
    splits = load_cifarfs(archive)
    assert {split: len(data) for split, data in splits.items()} == {"train": 64, "val": 16, "test": 20}
    assert splits["val"].class_names == CIFARFS_HELD_OUT["val"]
    assert splits["test"].class_names == CIFARFS_HELD_OUT["test"]
    assert sorted(name for data in splits.values() for name in data.class_names) == FINE


@pytest.mark.parametrize("load", [load_fc100, load_cifarfs])
def test_images_belong_to_their_class_those_of_train_first(folder, load):
    for data in load(folder).values():
        for c, name in enumerate(data.class_names):
            red, green, blue = data.of_class(c).transpose(1, 0, 2, 3)
            assert (red == FINE.index(name)).all()
            assert (green == COARSE[name]).all()
            assert blue[:, 0, 0].tolist() == [100, 100, 100, 200]


def test_folder_and_archive_are_alike_and_read_once(folder, archive, monkeypatch):
    from_archive, from_folder = load_fc100(archive), load_fc100(folder)
    assert all(np.array_equal(from_archive[split].images, from_folder[split].images) for split in from_archive)
    monkeypatch.setattr(cifar100, "load_pickle", None)
    assert np.array_equal(load_fc100(archive)["val"].images, from_folder["val"].images)


def test_it_is_downloaded_where_no_folder_is_named(monkeypatch, pickles):
    def fetch(url, checksum, folder, name):
        assert url == "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
        assert checksum == "md5:eb9058c3a382ffc7106e4002c42a8d85"
        (folder / name).mkdir(parents=True)
        for member, content in pickles.items():
            (folder / member).write_bytes(content)

    monkeypatch.setattr(cifar100, "fetch_archive", fetch)
    assert len(load_fc100()["train"]) == 60
    monkeypatch.setattr(cifar100, "fetch_archive", None)
    assert len(load_cifarfs()["train"]) == 64


def test_a_folder_without_data_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"no CIFAR-100 here; put cifar-100-python\.tar\.gz from https://"):
        find_cifar100(tmp_path)


def link(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("members", "more", "message"),
    [
        ({"../outside": b"x"}, [], r"unsafe path .*\.\./outside"),
        ({"cifar-100-python/../../outside": b"x"}, [], "unsafe path"),
        ({"/tmp/outside-of-srwm": b"x"}, [], "unsafe path"),
        ({}, [link("cifar-100-python/train", tarfile.SYMTYPE, "/etc/passwd")], "neither a plain file nor a folder"),
        ({}, [link("cifar-100-python/train", tarfile.LNKTYPE, "../meta")], "neither a plain file nor a folder"),
        ({}, [link("cifar-100-python/train", tarfile.FIFOTYPE)], "neither a plain file nor a folder"),
        ({}, [link("cifar-100-python/train", tarfile.CHRTYPE)], "neither a plain file nor a folder"),
        ({"elsewhere/train": b"x"}, [], "holds no cifar-100-python"),
    ],
)
def test_a_hostile_archive_is_refused_before_anything_is_written(tmp_path, monkeypatch, members, more, message):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    written = []
    if message.startswith(("unsafe", "neither")):
        monkeypatch.setattr("shutil.copyfileobj", lambda *_: written.append(_))
    path = pack(tmp_path / "cifar-100-python.tar.gz", {"cifar-100-python/meta": b"x", **members}, *more)
    with pytest.raises(UserError, match=message):
        load_fc100(path)
    assert written == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cifar-100-python.tar.gz", "temporary"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, archive, monkeypatch):
    monkeypatch.setattr("srwm.data.io.archive.MAX_UNPACKED", 1000)
    with pytest.raises(UserError, match="would unpack to over"):
        load_fc100(archive)


@pytest.mark.parametrize("damage", [b"", b"not an archive", None])
def test_a_damaged_archive_is_reported(archive, damage):
    archive.write_bytes(archive.read_bytes()[:-200] if damage is None else damage)
    with pytest.raises(UserError, match=r"cifar-100-python\.tar\.gz: cannot be unpacked"):
        load_fc100(archive)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_a_pickle_that_runs_code_runs_nothing(folder, tmp_path, python2_pickle):
    (folder / "train").write_bytes(python2_pickle({**contents()["train"], "batch_label": Touch(tmp_path / "it ran")}))
    with pytest.raises(UserError, match=r"cifar-100-python/train: refused, it asks for (builtins|__builtin__)\.exec"):
        load_fc100(folder)
    assert not (tmp_path / "it ran").exists()


DEEP: list[object] = [1]
for _ in range(40):
    DEEP = [DEEP, DEEP]
ODD = (
    np.ones(300, bool),
    np.ones(300, np.float32),
    np.ones((300, 1), np.int64),
    np.full(300, 2**64 - 1, np.uint64),
    np.int64(3),
    [True] * 300,
    [[1]] * 300,
    [2**64] * 300,
    ["1"] * 300,
    DEEP,
    None,
)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train", {"data": np.zeros((300, 100), np.uint8)}, "not the known form"),
        ("train", {"data": np.zeros((300, 3072), np.float32)}, "expected uint8"),
        ("train", {"data": np.zeros((300, 3072), bool)}, "expected uint8 .*, got bool"),
        ("train", {"data": [1, 2]}, "expected uint8 .*, got list"),
        ("train", {"fine_labels": [0] * 299}, "fine_labels: expected one for each of 300 images, got 299"),
        ("train", {"fine_labels": [100] * 300}, "fine_labels: expected whole numbers from 0 to 99, got 100"),
        ("train", {"fine_labels": [-1] * 300}, "fine_labels: expected"),
        ("train", {"coarse_labels": [0.5] * 300}, "coarse_labels: expected"),
        *(("train", {"fine_labels": labels}, "fine_labels: expected") for labels in ODD),
        ("meta", {"fine_label_names": ["one name"] * 100}, "expected the names of 100 classes and 20 superclasses"),
        ("meta", {"coarse_label_names": ["name"] * 300}, "expected the names of 100 classes and 20 superclasses"),
        ("train", {"fine_labels": [0] * 300}, "expected 60 classes of 4 images to train in fc100"),
        ("meta", {"fine_label_names": [name.upper() for name in FINE]}, "expected 64 classes of 4 images to train in cifar-fs"),
        ("meta", {"fine_label_names": 7}, "not the known form"),
        ("meta", [], "not the known form"),
    ],
)
def test_another_form_is_an_error(folder, python2_pickle, file, change, message):
    changed = {**contents()[file], **change} if isinstance(change, dict) else change
    (folder / file).write_bytes(python2_pickle(changed))
    with pytest.raises(UserError, match=message):
        load_cifarfs(folder) if "cifar-fs" in message else load_fc100(folder)
    assert not list(cache_dir().glob("*train*.npy"))
