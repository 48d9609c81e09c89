import numpy as np
import pytest

from srwm.streams.recovery import AFTER, BEFORE, WINDOW, around_drifts, recovery


def learner(right_after, drifts=2, length=BEFORE + AFTER):
    """Right at all samples but the first `right_after` after each drift."""
    around = np.ones((drifts, length), dtype=bool)
    around[:, BEFORE : BEFORE + right_after] = False
    return around


def test_pieces_around_drifts_begin_at_the_drift():
    correct = np.zeros(5_000, dtype=bool)
    correct[500:600] = correct[1_500:1_600] = True
    around = around_drifts(correct, (500, 1_500))
    assert around.shape == (2, BEFORE + AFTER)
    assert not around[:, :BEFORE].any()
    assert around[:, BEFORE : BEFORE + 100].all()
    assert not around[:, BEFORE + 100 :].any()


@pytest.mark.parametrize("drifts", [(100,), (500, 1_400), (4_500,)])
def test_drifts_too_close_are_refused(drifts):
    with pytest.raises(ValueError, match="drifts: expected 200 samples before"):
        around_drifts(np.ones(5_000, dtype=bool), drifts)


def test_no_fall_is_recovered_within_one_window():
    found = recovery(learner(0))
    assert (found.level, found.after, found.samples) == (1.0, 1.0, WINDOW)


def test_recovery_is_when_the_window_holds_few_wrong_answers():
    found = recovery(learner(100))
    assert found.samples == 100 + WINDOW - 1  # 24 of the last 25 are right, which is 96 %
    assert found.after == 0.5


def test_the_level_is_the_learners_own():
    around = learner(60)
    around[:, :BEFORE:2] = False  # a level of 50 %: 12 of 25 are enough, since 47.5 % of 25 is 11.9
    assert recovery(around).level == 0.5
    assert recovery(around).samples == 60 + 12


def test_one_that_does_not_come_back_has_no_count():
    assert recovery(learner(AFTER)).samples is None


def test_samples_beyond_a_recovery_do_not_matter():
    around = learner(40)
    around[:, BEFORE + 500 :] = False
    assert recovery(around).samples == recovery(learner(40)).samples


@pytest.mark.parametrize("shape", [(0, BEFORE + AFTER), (2, 10), (BEFORE + AFTER,)])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match="around: expected"):
        recovery(np.ones(shape, dtype=bool))
