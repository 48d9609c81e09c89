import numpy as np

from srwm.data.glyphs import load_glyphs


def test_scripts_are_kept_apart():
    splits = load_glyphs()
    upright = {**splits, "train": splits["train"].select(range(len(splits["train"]) // 4), "upright")}
    looks = [data.of_class(c)[0].tobytes() for data in upright.values() for c in range(len(data))]
    assert len(looks) == len(set(looks))
    assert len(splits["test"]) > 100
    assert {name.split()[0] for name in splits["test"].class_names} == {"Armenian", "Georgian"}


def test_every_letter_has_instances_that_differ():
    for data in load_glyphs().values():
        assert data.counts.min() >= 4
        assert all(len(np.unique(data.of_class(c), axis=0)) > 1 for c in range(0, len(data), 10))
