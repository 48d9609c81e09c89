"""The answers that benchmarks/streams.py keeps, and its tables."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from srwm.streams.prequential import PrequentialResult

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def records(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("stream_records")


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("stream_tables")


def line(records, learner, correct, stream="one", seed=0, drifts=()):
    labels = [0, 1] * (len(correct) // 2)
    predictions = [label if right else 2 for label, right in zip(labels, correct, strict=True)]
    result = PrequentialResult(labels, predictions, np.asarray(correct, dtype=bool), 2e-3)
    origin = {"drifts": list(drifts), "cpu": "a processor", "river": "1"}
    return records.record(records.Key(learner, stream, seed), result, origin)


def test_lines_come_back_as_they_were(records, tmp_path):
    correct = np.random.default_rng(0).random(1_002) < 0.7
    written = line(records, "softmax", correct)
    records.append(tmp_path, [written])
    (key,) = found = records.read(tmp_path)
    assert key == ("softmax", "one", 0)
    assert found[key] == written
    np.testing.assert_array_equal(records.correct_of(found[key]), correct)


def test_a_line_that_was_cut_is_left_out_and_the_next_is_kept(records, tmp_path):
    records.append(tmp_path, [line(records, "softmax", [True, False])])
    path = tmp_path / records.FILE
    path.write_bytes(path.read_bytes() + json.dumps(line(records, "softmax", [True, True], seed=1)).encode()[:40])
    records.append(tmp_path, [line(records, "softmax", [True, True], seed=2)])
    assert [key.seed for key in records.read(tmp_path)] == [0, 2]


def test_ranks_and_means_by_hand(records, tables):
    """Over the first 200 samples: 100 % and two learners at 50 %, which share ranks 2 and 3."""
    half = [True, False] * 150
    lines = [line(records, "a", [True] * 300), line(records, "b", half), line(records, "c", half)]
    lines += [line(records, "a", [True] * 300, seed=1)]  # not answered by b and c
    by_key = {records.Key(each["learner"], each["stream"], each["seed"]): each for each in lines}
    table = tables.Table(by_key, {"a": "A", "b": "B", "c": "C"}, ["one"], [0, 1])
    text = tables.section(table)
    assert "| A | 1.00 | 1.00 | 1.00 | 1.00 | 100.0 | 100.0 | 100.0 | 100.0 | 2.00 |" in text
    assert "| B | 2.50 | 2.50 | 2.50 | 2.50 | 50.0 | 50.0 | 50.0 | 50.0 | 2.00 |" in text
    assert "Incomplete: 1 streams lack a learner." in text
    assert "abrupt drift" not in text


def test_recovery_is_in_the_table_of_streams_with_drifts(records, tables):
    slow, quick = np.ones((2, 5_000), dtype=bool)
    for drift in (500, 1_500):
        slow[drift : drift + 300] = False
        quick[drift : drift + 30] = False
    lines = [line(records, name, correct, drifts=(500, 1_500)) for name, correct in (("s", slow), ("q", quick))]
    by_key = {records.Key(each["learner"], "one", 0): each for each in lines}
    text = tables.section(tables.Table(by_key, {"s": "slow", "q": "quick"}, ["one"], [0]))
    assert "| mean | 324 | 54 |" in text
    assert "| accuracy, 200 samples after, % | 0.0 | 85.0 |" in text


def test_no_common_stream_is_said(records, tables):
    text = tables.section(tables.Table({}, {"a": "A"}, ["one"], [0]))
    assert "No stream has been answered by all learners yet." in text
