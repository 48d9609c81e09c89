import random

import pytest

from srwm.streams.baselines import BASELINES
from srwm.streams.prequential import prequential

pytest.importorskip("river", reason="the extra streams is not installed")


def samples(count, by):
    """The label depends on a number or on a string; some numbers are missing, and a feature comes later."""
    generator = random.Random(0)
    for position in range(count):
        size, color = generator.gauss(0, 1), generator.choice(["red", "blue"])
        row = {"size": size, "color": color, **({"late": 1.0} if position > 50 else {})}
        label = ("large" if size > 0 else "small") if by == "size" else f"is {color}"
        if by == "color" and generator.random() < 0.1:
            del row["size"]
        yield row, label


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_learns_from_numbers(name):
    found = prequential(BASELINES[name].make(0), samples(160, "size"))
    assert found.correct[100:].mean() > 0.75


@pytest.mark.parametrize("name", sorted({*BASELINES} - {"naive-bayes"}))
def test_a_baseline_learns_from_strings_beside_missing_values(name):
    """Not naive Bayes: Gaussians fit a constant indicator badly."""
    found = prequential(BASELINES[name].make(0), samples(160, "color"))
    assert found.correct[100:].mean() > 0.75


def test_naive_bayes_accepts_strings_and_missing_values():
    found = prequential(BASELINES["naive-bayes"].make(0), samples(60, "color"))
    assert None not in found.predictions[1:]


@pytest.mark.parametrize("name", ["adaptive-tree", "adaptive-forest"])
def test_a_seed_gives_the_same_learner(name):
    first, again = (prequential(BASELINES[name].make(3), samples(100, "size")) for _ in range(2))
    assert first.predictions == again.predictions
