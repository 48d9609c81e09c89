import numpy as np
import pytest
import torch

from srwm.data import ImageClasses
from srwm.data.resize import resized
from srwm.errors import UserError


def classes(*image_shape, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (7, *image_shape), dtype=np.uint8)
    return ImageClasses("some", images, np.array([0, 3, 7]), ("a", "b"))


def test_what_fits_stays_as_it_is():
    data = classes(3, 8, 8)
    assert resized({"val": data}, (3, 8, 8))["val"] is data


def test_gray_becomes_color_of_equal_channels_without_being_stored_thrice():
    data = classes(1, 8, 8)
    found = resized({"val": data}, (3, 8, 8))["val"]
    assert found.image_shape == (3, 8, 8)
    assert np.shares_memory(found.images, data.images)
    assert torch.equal(torch.from_numpy(found.images)[[5, 0]], torch.from_numpy(data.images)[[5, 0]].expand(-1, 3, -1, -1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wanted", [1, 3])
def test_sizes_change_and_one_color_stays(channels, wanted):
    data = classes(channels, 12, 9)
    images = np.broadcast_to(np.arange(0, 210, 30, dtype=np.uint8)[:, None, None, None], data.images.shape)
    data = ImageClasses(data.name, images, data.offsets, data.class_names)
    found = resized({"val": data}, (wanted, 20, 16))["val"]
    assert found.image_shape == (wanted, 20, 16)
    assert (found.class_names, found.offsets.tolist(), found.name) == (("a", "b"), [0, 3, 7], "some")
    assert np.array_equal(found.images[:, 0, 0, 0], images[:, 0, 0, 0])
    assert (found.images == found.images[:, :1, :1, :1]).all()


def test_a_picture_keeps_its_place_and_channels():
    data = classes(3, 16, 16)
    data.images[:] = 0
    data.images[:, 1, :8, 8:] = 200
    (found,) = resized({"val": data}, (3, 4, 4)).values()
    green = found.images[0, 1].astype(float)
    assert green[:2, 2:].min() > 150
    assert np.delete(found.images[0], 1, axis=0).max() == 0
    assert green[2:].max() < 50 > green[:2, :2].max()


def test_it_is_computed_once(monkeypatch):
    one = resized({"val": classes(1, 8, 8)}, (1, 5, 5))["val"]
    other = resized({"val": classes(1, 8, 8, seed=1)}, (1, 5, 5))["val"]
    monkeypatch.setattr("srwm.data.resize.resize_image", None)
    again = resized({"val": classes(1, 8, 8)}, (1, 5, 5))["val"]
    assert np.array_equal(one.images, again.images)
    assert not np.array_equal(one.images, other.images)


@pytest.mark.parametrize("wanted", [(2, 8, 8), (3, 8), (1, 0, 8)])
def test_impossible_shapes_are_reported(wanted):
    with pytest.raises(UserError, match=r"model.image_shape: some has \(1, 8, 9\), which cannot become"):
        resized({"val": classes(1, 8, 9)}, wanted)
