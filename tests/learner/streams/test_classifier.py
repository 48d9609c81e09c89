"""What a stream classifier answers, learns and refuses."""

import copy
import pickle
from threading import Event, Thread

import numpy as np
import pytest
import torch

from srwm import StreamClassifier
from srwm.nn import StackConfig
from srwm.streams.config import ModelConfig
from srwm.streams.model import StreamModel

from .conftest import CLASSES, NearestMeans, points

LETTERS = np.array(["owl", "bee", "cat"])


def rows_of(x: np.ndarray) -> list[dict[str, float]]:
    return [{f"f{i}": value for i, value in enumerate(row)} for row in x.tolist()]


def test_it_knows_nothing_before_the_first_label(classifier) -> None:
    assert classifier.predict_one({"a": 1.0}) is None
    assert classifier.predict_proba_one({"a": 1.0}) == {}
    classifier.learn_one({"a": 1.0}, "x")
    assert classifier.predict_proba_one({"a": 5.0}) == {"x": 1.0}
    assert classifier.forget().predict_one({"a": 1.0}) is None


def test_it_learns_a_stream_sample_by_sample(classifier) -> None:
    x, y = points(200)
    right = 0
    for sample, label in zip(rows_of(x), LETTERS[y].tolist(), strict=True):
        right += classifier.predict_one(sample) == label
        classifier.learn_one(sample, label)
    assert right > 180
    found = classifier.predict_proba_one(rows_of(x)[0])
    assert list(found) == ["bee", "cat", "owl"]
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    assert max(found, key=found.__getitem__) == classifier.predict_one(rows_of(x)[0])


def test_samples_and_tables_are_learned_alike(model) -> None:
    x, y = points(100)
    one, many = StreamClassifier(model), StreamClassifier(model)
    for sample, label in zip(rows_of(x), y.tolist(), strict=True):
        one.learn_one(sample, label)
    many.partial_fit(x[:30], y[:30]).partial_fit(x[30:], y[30:])
    listed = StreamClassifier(model).fit(rows_of(x), y)
    expected = [list(one.predict_proba_one(sample).values()) for sample in rows_of(x)]
    assert np.allclose(many.predict_proba(x), expected, atol=1e-5)
    assert np.allclose(listed.predict_proba(rows_of(x)), expected, atol=1e-5)
    assert np.array_equal(many.predict(x), [one.predict_one(sample) for sample in rows_of(x)])


def test_predicting_changes_nothing(classifier) -> None:
    x, y = points(60)
    classifier.partial_fit(x, y)
    before = classifier._state
    sample = {**dict(enumerate(x[0])), "new": 1.0, "color": "red"}
    kept = dict(sample)
    classifier.predict_one(sample)
    expected = classifier.predict_proba(x)
    assert classifier._state is before
    assert np.array_equal(classifier.predict_proba(x), expected)
    assert sample == kept


def test_new_features_categories_and_missing_values(classifier) -> None:
    for i in range(100):
        sample = {"color": "red" if i % 2 else "blue"}
        if i > 50:
            sample |= {"late": float(i)}
        if i % 7 == 0:
            sample |= {"n": None}
        classifier.learn_one(sample, "stop" if i % 2 else "go")
    assert classifier.predict_one({"color": "red"}) == "stop"
    assert classifier.predict_one({"color": "blue", "late": None, "other": True}) == "go"
    assert classifier.predict_one({}) in ("stop", "go")


@pytest.mark.parametrize("labels", [["a", "b"], [1, 2], [True, False], [0.5, 1.5]], ids=str)
def test_labels_keep_their_type(model, labels) -> None:
    classifier = StreamClassifier(model)
    for label in labels * 5:
        classifier.learn_one({"a": float(labels.index(label))}, label)
    for i, label in enumerate(labels):
        found = classifier.predict_one({"a": float(i)})
        assert found == label
        assert type(found) is type(label)
    assert classifier.classes_.tolist() == sorted(labels)


def test_a_class_too_many_is_refused_and_loses_nothing(classifier) -> None:
    for label in range(CLASSES):
        classifier.learn_one({"a": float(label)}, label)
    before = classifier._state
    message = "labels: expected 16 classes or fewer, as many as the model has class slots, got 17"
    for call in (
        lambda: classifier.learn_one({"a": 1.0}, CLASSES),
        lambda: classifier.partial_fit([[1.0], [2.0]], [1, CLASSES]),
        lambda: classifier.partial_fit([[1.0]], [1], classes=range(CLASSES + 1)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert classifier._state is before
    classifier.learn_one({"a": 1.0}, 3)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        ({"a": float("inf")}, "x", ValueError, "feature 'a': expected a number that is finite"),
        ({"a": []}, "x", TypeError, "feature 'a': argument must be a string, a number"),
        ([1.0], "x", TypeError, "x: expected a dict of features by name, got list"),
        ({"a": 1.0}, None, ValueError, "y: expected texts alone or numbers alone"),
        ({"a": 1.0}, float("nan"), ValueError, "y: expected no missing values"),
        ({"a": 1.0}, 3, ValueError, "labels: expected texts, as before, got numbers"),
        ({"a": 1.0}, ["x"], ValueError, "y: expected one label per sample"),
    ],
)
def test_what_does_not_fit_is_refused_and_loses_nothing(classifier, x, y, error, message) -> None:
    classifier.learn_one({"a": 1.0}, "x")
    before = classifier._state
    with pytest.raises(error, match=message):
        classifier.learn_one(x, y)
    assert classifier._state is before


def test_declared_classes_have_a_column_before_they_are_shown(classifier) -> None:
    classifier.partial_fit([[0.0], [1.0]], ["a", "b"], classes=["c", "b", "a"])
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    assert classifier.predict_proba([[0.5]])[0, 2] == 0
    assert list(classifier.predict_proba_one({0: 1.0})) == ["a", "b"]
    with pytest.raises(ValueError, match="labels: expected those declared"):
        classifier.learn_one({0: 1.0}, "d")


def test_copies_learn_on_their_own(classifier) -> None:
    x, y = points(40)
    classifier.fit(x, y)
    expected = classifier.predict_proba(x)
    for made in (classifier.copy(), copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        assert np.array_equal(made.predict_proba(x), expected)
        made.partial_fit(x, (y + 1) % 3)
        assert not np.array_equal(made.predict_proba(x), expected)
    assert np.array_equal(classifier.predict_proba(x), expected)
    assert classifier.copy().model_ is classifier.model_
    assert b"_learning" not in pickle.dumps(classifier)
    assert StreamClassifier(classifier.model).copy().predict_one({}) is None


def test_a_prediction_uses_the_state_at_its_call(classifier) -> None:
    x, y = points(30)
    samples = rows_of(x)
    classifier.learn_one(samples[0], 0)
    failures = []

    def predict() -> None:
        for sample in samples * 3:
            found = classifier.predict_proba_one(sample)
            if abs(sum(found.values()) - 1) > 1e-9:
                failures.append(found)

    threads = [Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    for sample, label in zip(samples, y.tolist(), strict=True):
        classifier.learn_one(sample, label)
    for thread in threads:
        thread.join()
    assert not failures
    assert classifier._state.count == 31


def test_a_classifier_that_loads_its_model_does_not_hold_up_another(model, monkeypatch) -> None:
    entered, release = Event(), Event()

    def load(name: object) -> NearestMeans:
        entered.set()
        assert release.wait(30)
        return NearestMeans()

    monkeypatch.setattr("srwm.learner.streams.classifier.load_stream_model", load)
    slow, quick = StreamClassifier("slow"), StreamClassifier(model)
    loading = Thread(target=slow.learn_one, args=({"a": 1.0}, "x"))
    learning = Thread(target=quick.learn_one, args=({"a": 1.0}, "x"), daemon=True)
    loading.start()
    assert entered.wait(30)
    learning.start()
    learning.join(10)
    free = not learning.is_alive()
    release.set()
    loading.join()
    assert free
    assert slow.predict_one({}) == "x"


def test_threads_that_learn_take_turns(classifier) -> None:
    def learn(name: str) -> None:
        for i in range(30):
            classifier.learn_one({name: float(i)}, i % 2)

    threads = [Thread(target=learn, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert classifier._state.count == 60
    assert {name for name, _ in classifier._state.encoder.keys} == {"a", "b"}


def test_times_keep_their_digits() -> None:
    torch.manual_seed(0)
    model = StreamModel(ModelConfig(stack=StackConfig(core="deltanet", d_model=16, num_heads=2, num_layers=1)))
    one, other = StreamClassifier(model), StreamClassifier(model)
    for i in range(30):
        one.learn_one({"t": 1_700_000_000 + i}, i % 2)
        other.learn_one({"t": i}, i % 2)
    assert one._state.model_state.statistics.squares[0, 0] == sum(i**2 for i in range(30))
    assert one.predict_proba_one({"t": 1_700_000_040}) == pytest.approx(other.predict_proba_one({"t": 40}))


class TestTables:
    def test_mixed_columns(self, classifier) -> None:
        rows = [[1.0, "a", True], [2.0, "b", None], [float("nan"), float("nan"), False]] * 10
        classifier.fit(rows, ["x", "y", "x"] * 10)
        assert [len(known) for known in classifier._state.encoder.values.values()] == [2]
        assert classifier.predict(np.array(rows[:2], object)).tolist() == ["x", "y"]
        assert classifier.n_features_in_ == 3

    @pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[D]", "timedelta64[s]"])
    def test_dates_are_seconds(self, classifier, dtype) -> None:
        times = np.array([[0], [1]] * 5, dtype.partition("[")[0] + "[D]").astype(dtype)
        times[2] = "NaT"
        classifier.fit(times, [0, 1] * 5)
        assert classifier._state.encoder.numbers.keys() == {"\0number:0"}
        assert classifier.predict([[0.0], [86_400.0]]).tolist() == [0, 1]

    def test_texts_alone(self, classifier) -> None:
        assert classifier.fit(np.array([["a"], ["b"]] * 5), [0, 1] * 5).predict([["a"], ["b"]]).tolist() == [0, 1]

    def test_tensors(self, classifier) -> None:
        x, y = points(40)
        classifier.fit(torch.from_numpy(x), torch.from_numpy(y))
        assert classifier.score(torch.from_numpy(x), y) > 0.9

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            ([1.0, 2.0], "Expected 2D array, got 1D array instead"),
            (np.zeros((2, 2, 2)), "Expected 2D array, got 3D array instead"),
            (np.zeros((2, 0)), r"0 feature\(s\) \(shape=\(2, 0\)\) while a minimum of 1 is required"),
            (np.zeros((2, 2), complex), "Complex data not supported"),
            ([[1.0, np.inf], [0.0, 0.0]], "X: expected numbers that are finite in float32"),
            ([[1e39], [0.0]], "X: expected numbers that are finite in float32"),
            ([[10**400], [0.0]], "X: expected numbers that are finite in float32"),
            ([[1.0], [2.0, 3.0]], r"X: expected a table \(n, columns\), got list"),
            (np.zeros((0, 2)), "labels: expected one per sample, 0, got 2"),
            (np.zeros((3, 2)), "labels: expected one per sample, 3, got 2"),
        ],
    )
    def test_shapes_and_values_that_do_not_fit(self, classifier, x, message) -> None:
        with pytest.raises(ValueError, match=message):
            classifier.fit(x, [0, 1])
        assert not hasattr(classifier, "classes_")

    def test_columns_of_which_none_was_learned_from_dicts(self, classifier) -> None:
        classifier.learn_one({"a": 1.0, "b": "red"}, "x")
        with pytest.raises(ValueError, match="X: expected features that were learned, such as 'a', 'b', got columns '0', '1'"):
            classifier.predict(np.zeros((1, 2)))
        classifier.learn_one({0: 1.0}, "y")
        assert classifier.predict_proba(np.zeros((1, 2))).shape == (1, 2)

    def test_columns_that_differ_from_before(self, classifier) -> None:
        classifier.fit(*points(10))
        for call in (classifier.predict, lambda x: classifier.partial_fit(x, [0])):
            with pytest.raises(ValueError, match="X has 3 features, but StreamClassifier is expecting 4 features as input"):
                call(np.zeros((1, 3)))
        assert len(classifier.predict(np.zeros((0, 4)))) == 0


def test_the_state_of_a_model_stays_finite_at_the_ends_of_float32() -> None:
    torch.manual_seed(0)
    model = StreamModel(ModelConfig(stack=StackConfig(core="deltanet", d_model=16, num_heads=2, num_layers=1)))
    classifier = StreamClassifier(model)
    for value in (0.0, 3e38, -3e38, 1e-45, 1.0, 2.0):
        classifier.learn_one({"a": value, "b": -value}, value > 0)
        assert sum(classifier.predict_proba_one({"a": value}).values()) == pytest.approx(1)


def test_a_model_of_fewer_slots() -> None:
    classifier = StreamClassifier(NearestMeans(num_features=3, num_classes=2))
    x, y = points(100, classes=2, columns=8)
    assert classifier.fit(x, y).score(x, y) > 0.7
    with pytest.raises(ValueError, match="labels: expected 2 classes or fewer"):
        classifier.partial_fit(x[:1], [2])
