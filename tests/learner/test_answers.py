"""Answers to images: a class, or unknown."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from srwm import FewShotLearner
from srwm.fewshot.models.metadata import Rejection
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


def test_a_calibrated_model_also_refuses_what_is_like_no_class(drawn, images) -> None:
    model = deepcopy(drawn)
    model.metadata = replace(drawn.metadata, rejection=Rejection(1e-6, 5))
    learner = FewShotLearner(model).fit(images, LABELS)
    (answer,) = answers(learner, images[0])
    assert (answer.label, answer.reason) == (None, "like none of the classes")
    assert answer.unknown == pytest.approx(learner.predict_proba(images[:1], unknown=True)[0, -1])
    assert answer.probability == answer.unknown > 0.5
    assert sum(answer.probabilities.values()) + answer.unknown == pytest.approx(1)


def test_a_learner_that_looks_for_no_ink_calls_nothing_blank(drawn, images, trained) -> None:
    assert not without_ink(FewShotLearner(drawn, "none"), np.zeros_like(images)).any()
    assert without_ink(FewShotLearner(drawn), np.zeros_like(images)).all()
    x, y = points(3, 2, 0)
    assert all(answer.label in (0, 1, 2) for answer in answers(FewShotLearner(trained).fit(x, y), 0 * x))
