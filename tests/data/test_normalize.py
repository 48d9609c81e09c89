import dataclasses

import numpy as np
import pytest

from srwm.data import ImageClasses
from srwm.data.normalize import normalized


def noise(seed, channels=3):
    groups = np.random.default_rng(seed).integers(0, 200, (4, 5, channels, 6, 7)).astype(np.uint8)
    groups[:, :, 0] //= 3
    return ImageClasses.from_groups("noise", list(groups), "abcd")


def test_all_splits_have_the_statistics_of_the_training_images(monkeypatch):
    monkeypatch.setattr("srwm.data.normalize._AT_ONCE", 7)
    splits = {"train": noise(0), "val": noise(1), "test": noise(2)}
    made = normalized(splits)
    pixels = splits["train"].images / 255
    for split, data in made.items():
        np.testing.assert_allclose(data.normalization, [pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))], rtol=1e-5)
        assert data.images is splits[split].images


def test_a_channel_that_is_the_same_everywhere_keeps_its_scale():
    data = noise(0)
    data.images[:, 1] = 51
    statistics = normalized({"train": data, "val": data, "test": data})["test"].normalization
    assert statistics[:, 1] == pytest.approx([0.2, 1.0])


def test_statistics_that_do_not_fit_are_reported():
    with pytest.raises(ValueError, match=r"normalization: expected \(2, 3\), got \(2, 1\)"):
        dataclasses.replace(noise(0), normalization=np.ones((2, 1), np.float32))
