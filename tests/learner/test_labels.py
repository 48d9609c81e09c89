"""The forms that labels come in, and settings that are none."""

import numpy as np
import pytest
import torch

from srwm import FewShotLearner

from .conftest import WAYS, points


@pytest.mark.parametrize(
    "labels",
    [
        ["ж", "long name", "a"],
        [3, -7, 10**12],
        [True, False, True],
        [0.5, 2.5, 0.5],
        np.array(["b", "a", "b"]),
        np.array(["b", "a", "b"], dtype=object),
        np.array([1, 2, 1], dtype=np.uint8),
        np.array(["2020-01-01", "2021-01-01", "2020-01-01"], dtype="datetime64[D]"),
        torch.tensor([5, 3, 5]),
        (b"x", b"y", b"x"),
    ],
    ids=str,
)
def test_labels_come_back_as_they_were(trained, labels) -> None:
    x, _ = points(3, 1, 0)
    learner = FewShotLearner(trained).learn(x, labels)
    known = np.asarray(labels).tolist()
    assert learner.classes_.tolist() == sorted(set(known))
    assert learner.predict(x).dtype == learner.classes_.dtype
    assert set(learner.predict(x).tolist()) <= set(known)
    assert learner.predict_proba(x).shape == (3, len(set(known)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", 1, "b"], r"labels: expected texts alone or numbers alone, got \['int', 'str'\]"),
        (["a", None, "b"], "NoneType"),
        ([1.0, np.nan, 2.0], "got NaN"),
        ([[1], [2], [3]], r"expected one label per sample, \(n,\), got \(3, 1\)"),
        ([1, 2], "labels: expected one per sample, 3, got 2"),
        ("a", "labels: expected one per sample, 3, got 1"),
        ([b"a", "b", "c"], "bytes"),
        ({1, 2, 3}, "set"),
        ([[1, 2], [3]], "labels: expected one label per sample"),
    ],
    ids=str,
)
def test_labels_that_are_none_are_reported(trained, labels, message) -> None:
    x, _ = points(3, 1, 0)
    with pytest.raises(ValueError, match=message):
        FewShotLearner(trained).learn(x, labels)


def test_more_classes_than_ways_are_refused_and_nothing_is_lost(trained) -> None:
    x, y = points(WAYS + 1, 2, 0)
    for call in (
        lambda learner: learner.fit(x, y),
        lambda learner: learner.partial_fit(x[y < 2], y[y < 2], classes=range(WAYS + 1)),
        lambda learner: learner.learn(x[y < 3], y[y < 3]).learn(x[y > 2], y[y > 2]),
    ):
        with pytest.raises(ValueError, match=r"labels: expected 4 classes or fewer, as many as the model has ways, got 5"):
            call(FewShotLearner(trained))
    learner = FewShotLearner(trained).fit(x[y < 4], y[y < 4])
    before = learner.predict_proba(x)
    with pytest.raises(ValueError, match="4 classes or fewer"):
        learner.learn(x, y)
    assert np.array_equal(learner.predict_proba(x), before)


def test_labels_of_another_kind_or_undeclared_are_refused(trained) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained).learn(x, y)
    with pytest.raises(ValueError, match="labels: expected numbers, as before, got texts"):
        learner.learn(x[0], "a")
    with pytest.raises(ValueError, match="labels: expected numbers, as before, got texts"):
        learner.score(x, y.astype(str))
    with pytest.raises(ValueError, match=r"classes: expected \[0, 1, 2\], as before, got \[0, 1\]"):
        learner.partial_fit(x[:1], y[:1], classes=[0, 1])
    learner.partial_fit(x[:1], y[:1], classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"labels: expected those declared, \[0, 1, 2\], got \[3\]"):
        learner.learn(x[0], 3)
    with pytest.raises(ValueError, match=r"classes: expected \[0, 1, 2\], as before, got \[0, 1, 2, 3\]"):
        learner.partial_fit(x[:1], y[:1], classes=[0, 1, 2, 3])


@pytest.mark.parametrize(
    "setting", [{"tta_passes": 0}, {"tta_passes": 1.5}, {"tta_passes": True}, {"preprocess": "magic"}], ids=str
)
def test_wrong_settings_are_reported_when_they_are_used(trained, setting) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained, **setting)
    with pytest.raises(ValueError, match=f"^{next(iter(setting))}: expected"):
        learner.fit(x, y)


def test_labels_that_become_equal_in_a_common_type_are_refused(trained) -> None:
    x = points(3, 1, 0)[0]
    learner = FewShotLearner(trained).learn(x[:2], [2**53, 2**53 + 1])
    with pytest.raises(ValueError, match="labels: some are equal when int64 and float64 become float64"):
        learner.learn(x[2:], [0.5])
    assert learner.classes_.tolist() == [2**53, 2**53 + 1]


@pytest.mark.parametrize("seed", [None, -1, 2**70, np.random.RandomState(0)], ids=["None", "negative", "huge", "RandomState"])
def test_a_random_state_that_is_no_seed_is_named(trained, seed) -> None:
    with pytest.raises(ValueError, match="random_state: expected a whole number from 0"):
        FewShotLearner(trained, tta_passes=2, random_state=seed).fit(*points(2, 1, 0))


@pytest.mark.parametrize(
    "labels",
    [
        [2**63 + 1, 2**63 + 3, 5],
        [2**53 + 1, 2**53, 0.5],
        ["a\0", "a", "b"],
        [b"a\0", b"a", b"b"],
        [2**63 + 1, 1, -5],
        [2**53 + 1, 0.5, 0.5],
        np.array(["a\0", "b", "c"], dtype=object),
        [np.uint64(2**63 + 1), np.uint64(2**63 + 3), np.int64(-5)],
        [np.int64(2**53 + 1), np.int64(2**53), np.float64(0.5)],
    ],
    ids=str,
)
def test_labels_that_numpy_would_change_are_refused(trained, labels) -> None:
    x = points(3, 1, 0)[0]
    learner = FewShotLearner(trained)
    with pytest.raises(ValueError, match=r"^labels: .* becomes .* as .*; use other labels"):
        learner.learn(x, labels)
    with pytest.raises(ValueError, match=r"^classes: .* becomes"):
        learner.partial_fit(x[:1], labels[:1] if isinstance(labels, np.ndarray) else ["b"], classes=labels)


@pytest.mark.parametrize("labels", [[2**64, 2**64 + 1, 5], [-(2**63) - 1, 1, 5], np.array([2**70, 1, 2], object)], ids=str)
def test_labels_beyond_all_integer_types_are_refused(trained, labels) -> None:
    with pytest.raises(ValueError, match=r"^labels: expected whole numbers from -2\*\*63 to 2\*\*64 - 1, got "):
        FewShotLearner(trained).learn(points(3, 1, 0)[0], labels)


@pytest.mark.parametrize("labels", [["1.0", "1.00", "1"], ["a", "a ", "A"], [0.1, np.nextafter(0.1, 1), 0.10000001]], ids=str)
def test_labels_that_look_alike_are_kept_apart(trained, labels) -> None:
    learner = FewShotLearner(trained).learn(points(3, 1, 0)[0], labels)
    assert learner.classes_.tolist() == sorted(labels)


def test_large_labels_are_kept_apart(trained) -> None:
    x = points(3, 1, 0)[0]
    learner = FewShotLearner(trained).learn(x, [2**63 + 1, 2**63 + 3, 2**63 + 5])
    assert learner.classes_.tolist() == [2**63 + 1, 2**63 + 3, 2**63 + 5]
    learner = FewShotLearner(trained).learn(x[:1], [2**53 + 1])
    with pytest.raises(ValueError, match="labels: some change when int64 and float64 become float64"):
        learner.learn(x[1:], [0.5, 0.5])


@pytest.mark.parametrize(
    "labels", [torch.arange(3, device="meta"), torch.arange(3).to_sparse(), torch.ones(3, dtype=torch.complex64)], ids=str
)
def test_tensors_that_are_no_labels_are_reported(trained, labels) -> None:
    with pytest.raises(ValueError, match=r"^labels: "):
        FewShotLearner(trained).learn(points(3, 1, 0)[0], labels)
