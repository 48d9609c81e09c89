import dataclasses

import numpy as np
import pytest

from srwm.data import ImageClasses, with_rotations


def ragged() -> ImageClasses:
    values = np.arange(5 * 4, dtype=np.uint8).reshape(5, 1, 2, 2)
    return ImageClasses.from_groups("ragged", [values[:2], values[2:]], ["a", "b"])


def test_classes_keep_their_images():
    data = ragged()
    assert len(data) == 2
    assert data.counts.tolist() == [2, 3]
    assert data.image_shape == (1, 2, 2)
    assert data.of_class(1)[0, 0].tolist() == [[8, 9], [10, 11]]


def test_select_reorders_classes():
    chosen = ragged().select([1, 0], "swapped")
    assert chosen.class_names == ("b", "a")
    assert chosen.counts.tolist() == [3, 2]
    assert np.array_equal(chosen.of_class(1), ragged().of_class(0))


def test_rotations_are_classes_of_their_own():
    data, rotated = ragged(), with_rotations(ragged())
    assert len(rotated) == 8
    assert rotated.counts.tolist() == [2, 3] * 4
    for turn in range(4):
        for c in range(2):
            assert np.array_equal(rotated.of_class(2 * turn + c), np.rot90(data.of_class(c), turn, axes=(2, 3)))
    assert rotated.class_names[3] == "b@90"


@pytest.mark.parametrize("offsets", [[0, 2], [0, 2, 4], [1, 2, 5], [0, 0, 5]])
def test_offsets_that_do_not_fit_are_refused(offsets):
    with pytest.raises(ValueError, match=r"^offsets: expected"):
        ImageClasses("bad", ragged().images, np.array(offsets), ("a", "b"))


def test_images_of_another_type_are_refused():
    with pytest.raises(ValueError, match=r"^images: expected \(I, C, H, W\) uint8"):
        ImageClasses("bad", ragged().images.astype(np.float32), np.array([0, 5]), ("a",))


def test_the_repr_is_one_line():
    data = ImageClasses("set", np.zeros((5, 3, 84, 80), np.uint8), np.array([0, 2, 5]), ("a", "b"))
    assert repr(data) == "ImageClasses('set': 2 classes, 5 images of 3x84x80)"
    normalized = dataclasses.replace(data, normalization=np.ones((2, 3), np.float32))
    assert repr(normalized) == "ImageClasses('set': 2 classes, 5 images of 3x84x80, normalized)"
