"""Counters of a run come back as they were, or are refused."""

import math

import pytest

from srwm.training.progress import Progress


def test_counters_come_back() -> None:
    progress = Progress(step=3, seconds=1.5, best=0.5)
    progress.add({"loss": 2.0})
    assert Progress.from_dict(progress.to_dict()) == progress


def test_means_are_over_what_was_added_since_the_last_call() -> None:
    progress = Progress()
    for value in (1.0, 2.0):
        progress.add({"loss": value})
    assert progress.pop_means() == {"loss": 1.5}
    progress.add({"loss": 4.0})
    assert progress.pop_means() == {"loss": 4.0}
    assert progress.pop_means() == {}


def test_names_of_the_version_before_are_read() -> None:
    assert Progress.from_dict({"step": 3, "stale": 2}) == Progress(step=3, validations_since_best=2)
    assert Progress.from_dict({"updates": 2}) == Progress(count=2)


@pytest.mark.parametrize(
    "values",
    [
        {"paces": 1},
        {"step": "3"},
        {"step": 1.5},
        {"step": -1},
        {"step": 10**400},
        {"seconds": math.nan},
        {"cpu_seconds": math.inf},
        {"sums": [1]},
        {"sums": {"loss": "1"}},
        {"sums": {1: 1.0}},
        {"best": None},
    ],
)
def test_counters_that_are_none_are_refused(values) -> None:
    with pytest.raises((TypeError, ValueError)):
        Progress.from_dict(values)
