import math
import sys
from functools import cache
from itertools import pairwise

import pytest

from srwm.errors import UserError
from srwm.streams.datasets import MOST_SAMPLES, STREAMS, TEST_STREAMS, VALIDATION_STREAMS, load_stream

pytest.importorskip("river", reason="the extra streams is not installed")
pytest.importorskip("sklearn", reason="the extra streams is not installed")
SHORT = {"phishing", "image-segments", "iris", "wine", "breast-cancer", "digits", "diabetes", "solar-flare"}
DRIFTING = {"sea", "sine", "mixed", "stagger", "agrawal", "led-drift"}


loaded = cache(load_stream)


def load(name, seed):
    try:
        return loaded(name, seed)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_rows_of_one_form_and_several_classes(name):
    stream = load(name, 0)
    assert (stream.name, stream.seed) == (name, 0)
    assert len(stream.rows) == len(stream.labels)
    assert (len(stream.rows) < MOST_SAMPLES) == (name in SHORT)
    assert len(stream.rows) <= MOST_SAMPLES
    assert 2 <= len(set(stream.labels[:1_000])) <= 16
    assert all(set(row) == set(stream.rows[0]) for row in stream.rows)
    values = [value for row in stream.rows for value in row.values()]
    assert all(isinstance(value, str) or math.isfinite(value) for value in values)


@pytest.mark.parametrize("name", ["sea", "hyperplane", "bananas", "iris", "solar-flare"])
def test_a_seed_gives_the_same_stream_and_another_seed_another_one(name):
    first, again, other = load(name, 0), load_stream(name, 0), load(name, 1)
    assert (first.rows, first.labels) == (again.rows, again.labels)
    assert (first.rows, first.labels) != (other.rows, other.labels)


def test_a_shuffle_keeps_the_samples_and_their_labels():
    def samples(seed):
        stream = load("wine", seed)
        return sorted((tuple(row.items()), label) for row, label in zip(stream.rows, stream.labels, strict=True))

    assert samples(0) == samples(1)


@pytest.mark.parametrize("name", TEST_STREAMS)
def test_one_abrupt_drift_in_the_first_thousand_samples_and_several_in_all(name):
    drifts = load(name, 0).drifts
    if name in DRIFTING:
        assert len([drift for drift in drifts if drift < 1_000]) == 1
        assert len(drifts) > 2
    else:
        assert drifts == ()


def test_labels_follow_another_rule_after_a_drift():
    """STAGGER has 27 different rows; within a concept each has one label."""
    stream = load("stagger", 0)

    def rule(start, end):
        samples = zip(stream.rows[start:end], stream.labels[start:end], strict=True)
        return {(tuple(row.values()), label) for row, label in samples}

    edges = [0, *stream.drifts, len(stream.rows)]
    rules = [rule(start, end) for start, end in pairwise(edges)]
    assert all(len(each) == len({row for row, _ in each}) for each in rules)
    assert all(before != after for before, after in pairwise(rules))


def test_validation_streams_are_in_no_table():
    assert not set(VALIDATION_STREAMS) & set(TEST_STREAMS)
    diabetes = load("diabetes", 0)
    assert 0.4 < sum(diabetes.labels) / len(diabetes.labels) < 0.6
    assert any(isinstance(value, str) for value in load("solar-flare", 0).rows[0].values())


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"name: expected one of sea, .* got 'nope'"):
        load_stream("nope", 0)


@pytest.mark.parametrize(("name", "package"), [("sea", "river"), ("iris", "sklearn")])
def test_a_missing_package_is_named_with_its_extra(name, package, monkeypatch):
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Missing(package), *sys.meta_path])
    with pytest.raises(UserError, match=rf"{package}, which is not installed: pip install 'srwm\[streams\]'"):
        load_stream(name, 0)


class Missing:
    """A finder that finds a package nowhere."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
