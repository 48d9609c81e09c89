"""Answers to images: a class, or unknown."""

import numpy as np
import pytest

from srwm import FewShotLearner
from srwm.learner.answers import answers, without_ink

from .conftest import LABELS, points


def test_images_without_ink_are_unknown_and_others_are_not(drawn, images) -> None:
    learner = FewShotLearner(drawn).fit(images, LABELS)
    expected = learner.predict_proba(images)
    found = answers(learner, np.concatenate([images, np.full((1, 28, 28), 9, np.uint8)]))
    assert [answer.label for answer in found] == [*learner.predict(images), None]
    for answer, row in zip(found, expected, strict=False):
        assert list(answer.probabilities) == ["a", "b", "c"]
        assert [*answer.probabilities.values()] == pytest.approx(row)
        assert (answer.probability, answer.unknown, answer.reason) == (pytest.approx(row.max()), 0, "")
    assert (found[-1].probability, found[-1].unknown, found[-1].reason) == (1, 1, "no ink was found")
    assert sum(found[-1].probabilities.values()) == 0


def test_a_learner_that_looks_for_no_ink_calls_nothing_blank(drawn, images, trained) -> None:
    assert not without_ink(FewShotLearner(drawn, "none"), np.zeros_like(images)).any()
    assert without_ink(FewShotLearner(drawn), np.zeros_like(images)).all()
    x, y = points(3, 2, 0)
    assert all(answer.label in (0, 1, 2) for answer in answers(FewShotLearner(trained).fit(x, y), 0 * x))
