import gzip
import hashlib
import struct
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from srwm.data.sets import mnist
from srwm.data.sets.mnist import SOURCES, load_mnist, read_idx
from srwm.errors import UserError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 3)).astype(np.uint8)
IMAGES = np.random.default_rng(1).integers(0, 256, (30, 28, 28)).astype(np.uint8)


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def write(folder, *, images=IMAGES, labels=LABELS, prefix="t10k", zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx(values)
        place = folder / f"{prefix}-{kind}-ubyte{'.gz' if zipped else ''}"
        place.write_bytes(gzip.compress(content) if zipped else content)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("name", "part", "prefix"), [("mnist", "test", "t10k"), ("kmnist", "train", "train")])
def test_images_come_by_class_in_the_order_of_the_file(name, part, prefix, zipped, tmp_path):
    write(tmp_path / name, prefix=prefix, zipped=zipped)
    found = load_mnist(part, tmp_path, name)
    assert found.name == f"{name}-{part}"
    assert found.class_names == tuple("0123456789")
    assert found.counts.tolist() == [3] * 10
    assert np.array_equal(found.images[:3, 0], IMAGES[LABELS == 0])
    assert np.array_equal(found.images[-3:, 0], IMAGES[LABELS == 9])
    assert np.array_equal(load_mnist(part, tmp_path / name, name).images, found.images), "the folder itself serves"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:-1]}, r"expected a label for each of 30 images, got \(29,\)"),
        ({"labels": LABELS.clip(0, 8)}, "expected images of all 10 classes, got none of 9"),
        ({"labels": np.where(np.arange(30) == 29, 10, LABELS).astype(np.uint8)}, "expected classes 0 to 9, got 10"),
        ({"images": IMAGES[:, :20]}, r"expected images of 28x28 pixels, got \(30, 20, 28\)"),
    ],
)
def test_files_that_do_not_fit_are_named(change, message, tmp_path):
    write(tmp_path, **change)
    with pytest.raises(UserError, match=message):
        load_mnist("test", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(LABELS)[:-3], r"damaged, expected \[30\] bytes after the header, got 27"),
        (idx(LABELS)[:6], r"damaged, expected \[\] bytes"),
        (b"\0\0\x0d\x01" + idx(LABELS)[4:], "not an IDX file of unsigned bytes"),
        (b"", "not an IDX file of unsigned bytes"),
        (struct.pack(">4I", 0x803, 2**31, 2**31, 2**31), "damaged, expected"),
    ],
)
def test_damaged_files_are_refused(content, message, tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_idx(path)
    (tmp_path / "labels.gz").write_bytes(gzip.compress(idx(IMAGES))[:-40])
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path / "labels.gz")


def test_unknown_names_and_missing_data_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="name: expected mnist, fashion-mnist, kmnist, got 'emnist'"):
        load_mnist("test", tmp_path, "emnist")
    with pytest.raises(UserError, match="part: expected train or test, got 'val'"):
        load_mnist("val", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no t10k-images-idx3-ubyte\.gz here; put the files of https"):
        load_mnist("test", tmp_path)


def test_a_download_is_checked_against_its_checksum(tmp_path, monkeypatch):
    monkeypatch.delenv("SRWM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    served = write(tmp_path / "served")
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in served.iterdir()}
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setitem(SOURCES, "mnist", mnist._Source(url, SOURCES["mnist"].checksums))
        with pytest.raises(UserError, match=f"cannot download {url}t10k-images-idx3-ubyte.gz"):
            load_mnist("test")
        assert not list((tmp_path / "srwm").rglob("*ubyte*"))
        monkeypatch.setitem(SOURCES, "mnist", mnist._Source(url, sums))
        assert load_mnist("test").counts.tolist() == [3] * 10
        server.shutdown()
    assert load_mnist("test").counts.tolist() == [3] * 10, "the second time it comes from the cache"
