import numpy as np
import pytest

from srwm.streams.prequential import PrequentialResult, answers, prequential


class Last:
    """Predicts the label that it was shown last, and records its calls."""

    def __init__(self):
        self.last = None
        self.calls = []

    def predict_one(self, x):
        self.calls.append(("ask", x["n"]))
        return self.last

    def learn_one(self, x, y):
        self.calls.append(("show", x["n"], y))
        self.last = y


def samples(labels):
    return [({"n": number}, label) for number, label in enumerate(labels)]


def result(labels, predictions):
    correct = np.array([a == b for a, b in zip(labels, predictions, strict=True)], dtype=bool)
    return PrequentialResult(labels, predictions, correct, 0.0)


def test_each_sample_is_asked_before_it_is_shown():
    learner = Last()
    prequential(learner, samples("ab"))
    assert learner.calls == [("ask", 0), ("show", 0, "a"), ("ask", 1), ("show", 1, "b")]


def test_the_answers_are_those_before_the_label():
    found = prequential(Last(), samples("aabba"))
    assert list(found.predictions) == [None, "a", "a", "b", "b"]
    assert found.correct.tolist() == [False, True, False, True, False]
    assert found.seconds_per_sample >= 0


def test_a_sample_without_a_label_is_asked_but_neither_shown_nor_scored():
    learner = Last()
    given = list(answers(learner, samples(["a", None, "a"])))
    assert [answer.prediction for answer in given] == [None, "a", "a"]
    assert ("ask", 1) in learner.calls
    assert all(call[:2] != ("show", 1) for call in learner.calls)


def test_accuracy_over_the_first_samples_or_all_there_are():
    found = result("aabb", "abbb")
    assert found.accuracy() == 0.75
    assert found.accuracy(2) == 0.5
    assert found.accuracy(100) == 0.75
    assert np.isnan(result("", "").accuracy())


def test_kappa_by_hand():
    # 8 of 10 right; labels 5 a, 5 b; predictions 7 a, 3 b: by chance 0.5 * 0.7 + 0.5 * 0.3 = 0.5
    found = result("aaaaabbbbb", "aaaaaaabbb")
    assert found.accuracy() == 0.8
    assert found.kappa() == pytest.approx((0.8 - 0.5) / 0.5)


@pytest.mark.parametrize(("labels", "predictions", "kappa"), [("abab", "abab", 1.0), ("aabb", "abab", 0.0), ("aa", "aa", 0.0)])
def test_kappa_at_its_ends(labels, predictions, kappa):
    assert result(labels, predictions).kappa() == pytest.approx(kappa)


def test_no_answer_is_wrong_and_not_a_class():
    found = result(["a", "b"], [None, None])
    assert (found.accuracy(), found.kappa()) == (0.0, 0.0)


def test_rolling_accuracy_against_means_of_slices():
    correct = np.random.default_rng(0).random(50) < 0.6
    found = PrequentialResult([], [], correct, 0.0).rolling_accuracy(7)
    expected = [correct[max(0, end - 7) : end].mean() for end in range(1, 51)]
    np.testing.assert_allclose(found, expected)


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="first: expected 1 or more, got 0"):
        result("a", "a").accuracy(0)
    with pytest.raises(ValueError, match="window: expected 1 or more, got -1"):
        result("a", "a").rolling_accuracy(-1)
