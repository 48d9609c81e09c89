"""The conventions of River."""

import pickle

import pytest

from srwm import StreamClassifier
from srwm.learner.streams.river import register

from .conftest import NearestMeans


def test_clones_have_the_settings_alone_unless_attributes_are_asked_for(classifier) -> None:
    classifier.learn_one({"a": 1.0}, "x")
    assert classifier.clone().predict_one({"a": 1.0}) is None
    copied = classifier.clone(include_attributes=True)
    assert copied.predict_one({"a": 1.0}) == "x"
    copied.learn_one({"a": 1.0}, "y")
    assert classifier.classes_.tolist() == ["x"]
    assert classifier.clone({"model": "other"}).model == "other"


def test_nothing_can_be_mutated(classifier) -> None:
    classifier.mutate({})
    with pytest.raises(ValueError, match="'model' is not a mutable attribute of StreamClassifier"):
        classifier.mutate({"model": "other"})


@pytest.mark.slow
def test_it_passes_the_checks_of_river() -> None:
    checks = pytest.importorskip("river.checks")
    checks.check_estimator(StreamClassifier(NearestMeans()))


def test_river_evaluates_it_and_puts_it_into_pipelines(model) -> None:
    base = pytest.importorskip("river.base")
    from river import datasets, evaluate, metrics, preprocessing

    assert isinstance(StreamClassifier(model), base.Classifier)
    pipeline = preprocessing.StandardScaler() | StreamClassifier(model)
    found = evaluate.progressive_val_score(datasets.Phishing().take(150), pipeline, metrics.Accuracy())
    assert found.get() > 0.7


def test_an_unpickled_classifier_is_one_of_river(classifier, monkeypatch) -> None:
    registered = []
    monkeypatch.setattr("srwm.learner.streams.classifier.register", registered.append)
    pickle.loads(pickle.dumps(classifier))
    assert registered == [StreamClassifier]


def test_without_river_nothing_is_registered(monkeypatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "river.base", raising=False)
    register(StreamClassifier)
