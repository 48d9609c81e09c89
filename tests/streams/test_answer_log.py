import numpy as np
import pytest

from srwm.streams.answer_log import AnswerLog
from srwm.streams.prequential import Answer, result_of

LABELS = ["a", "b", None, "a", "c"]
PREDICTIONS = {"one": [None, "a", "a", "a", "z"], "other": [None, "b", "b", None, "c"]}


@pytest.fixture
def log():
    log = AnswerLog(PREDICTIONS)
    for i, label in enumerate(LABELS):
        log.add(label, {name: Answer(label, each[i], 0.5) for name, each in PREDICTIONS.items()})
    return log


@pytest.mark.parametrize("name", PREDICTIONS)
def test_results_are_those_of_the_answers(log, name):
    expected = result_of(Answer(label, each, 0.5) for label, each in zip(LABELS, PREDICTIONS[name], strict=True))
    found = log.result(name)
    assert np.array_equal(found.correct, expected.correct)
    assert (found.accuracy(), found.kappa(), found.seconds_per_sample) == (expected.accuracy(), expected.kappa(), 0.5)


def test_rows_are_given_back(log):
    assert list(log.rows()) == list(zip(LABELS, map(list, zip(*PREDICTIONS.values(), strict=True)), strict=True))
    log.drop("one")
    assert log.learners == ["other"]
    assert [predictions for _, predictions in log.rows()] == [[each] for each in PREDICTIONS["other"]]
    assert len(log) == 5


def test_nothing_is_no_answer():
    assert len(AnswerLog(["one"]).result("one").labels) == 0
