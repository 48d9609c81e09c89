import numpy as np

from srwm.data import ImageClasses
from srwm.data.sets.mixture import join


def test_joined_classes_keep_their_images_and_names():
    rng = np.random.default_rng(0)
    groups = [rng.integers(0, 255, (count, 1, 2, 2), np.uint8) for count in (2, 3, 1, 4)]
    one, two = (ImageClasses.from_groups(n, groups[i : i + 2], [f"{n}0", f"{n}1"]) for n, i in (("a", 0), ("b", 2)))
    both = join("both", [one, two])
    assert both.class_names == ("a0", "a1", "b0", "b1")
    assert all(np.array_equal(both.of_class(c), group) for c, group in enumerate(groups))
