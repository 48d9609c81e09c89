"""The sample drawings: what is in the package, and how it was made."""

import numpy as np
import pytest

from srwm import FewShotLearner, samples
from srwm.learner.image_files import labeled_files
from srwm.samples.draw import LETTERS, PARTS, SIDE, write

image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("part", PARTS)
def test_every_letter_has_its_drawings(part) -> None:
    files, labels = labeled_files({"examples": samples.EXAMPLES, "questions": samples.QUESTIONS}[part])
    assert sorted(labels) == sorted([*LETTERS] * PARTS[part])
    pictures = [np.asarray(image.open(file)) for file in files]
    assert {pixels.shape for pixels in pictures} == {(SIDE, SIDE)}
    assert len({pixels.tobytes() for pixels in pictures}) == len(files)


def test_the_script_draws_the_same_again(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    write(tmp_path)
    made = sorted(path for path in tmp_path.rglob("*.png"))
    assert len(made) == len(LETTERS) * sum(PARTS.values())
    for path in made:
        shipped = samples.EXAMPLES.parent / path.relative_to(tmp_path)
        difference = np.asarray(image.open(path)).astype(int) - np.asarray(image.open(shipped))
        assert np.abs(difference).mean() < 1  # other versions of the fonts' reader round otherwise


def test_the_bundled_model_learns_and_recognizes_them() -> None:
    learner = FewShotLearner.from_pretrained().learn(samples.EXAMPLES)
    assert learner.score(*labeled_files(samples.QUESTIONS)) == 1
