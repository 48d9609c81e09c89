"""The conventions of scikit-learn."""

import numpy as np
import pytest

from srwm import StreamClassifier

from .conftest import NearestMeans, points

sklearn = pytest.importorskip("sklearn")

NOT_APPLICABLE = {
    "check_classifiers_regression_target": "any numbers are labels, whole or not, since River's streams have such labels",
    "check_supervised_y_2d": "labels are (n,); a column of them is refused rather than read with a warning",
    "check_estimators_overwrite_params": "it compares hashes of pickles, which differ between a PyTorch module and its copy",
}
"""Checks of scikit-learn that do not apply, and why."""


def check_results() -> list[dict]:
    from sklearn.utils.estimator_checks import check_estimator

    return check_estimator(StreamClassifier(NearestMeans()), on_fail=None, on_skip=None, expected_failed_checks=NOT_APPLICABLE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_passes_the_checks_of_scikit_learn() -> None:
    results = check_results()
    failed = {each["check_name"]: each["exception"] for each in results if each["status"] == "failed"}
    assert not failed
    assert {each["check_name"] for each in results if each["status"] == "xfail"} == NOT_APPLICABLE.keys()
    assert sum(each["status"] == "passed" for each in results) > 40


def test_the_settings_are_kept(model) -> None:
    classifier = StreamClassifier(model)
    assert vars(classifier) == {"model": model}
    classifier.fit(*points(10))
    assert classifier.get_params() == {"model": model}
    assert repr(StreamClassifier()) == "StreamClassifier()"
    assert repr(StreamClassifier("folder")) == "StreamClassifier(model='folder')"
    with pytest.raises(ValueError, match="Invalid parameter 'depth' for estimator"):
        classifier.set_params(depth=3)


def test_before_it_learned_nothing_is_there(classifier) -> None:
    from sklearn.exceptions import NotFittedError

    for call in (classifier.predict, classifier.predict_proba):
        with pytest.raises(NotFittedError, match="This StreamClassifier instance is not fitted yet"):
            call([[1.0]])
    assert not hasattr(classifier, "classes_")
    assert not hasattr(classifier, "n_features_in_")
    classifier.learn_one({"a": 1.0}, 1)
    assert not hasattr(classifier, "n_features_in_")


class Table:
    """Rows with names, as data frames have them."""

    def __init__(self, rows: np.ndarray, columns: list[object]) -> None:
        self.rows, self.columns = rows, columns

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.rows


def test_columns_of_data_frames_are_features_by_name(classifier, model) -> None:
    x, y = points(60)
    names = ["d", "a", "c", "b"]
    classifier.fit(Table(x, names), y)
    assert classifier.feature_names_in_.tolist() == names
    expected = classifier.predict_proba(Table(x, names))
    sample = dict(zip(names, x[0].tolist(), strict=True))
    assert list(classifier.predict_proba_one(sample).values()) == pytest.approx(expected[0].tolist(), abs=1e-5)
    with pytest.raises(ValueError, match="in the same order"):
        classifier.predict(Table(x[:, ::-1], names[::-1]))
    with pytest.warns(UserWarning, match="X does not have valid feature names, but StreamClassifier was fitted with"):
        assert np.allclose(classifier.predict_proba(x), expected)
    plain = StreamClassifier(model).fit(x, y)
    with pytest.warns(UserWarning, match="X has feature names, but StreamClassifier was fitted without"):
        plain.predict(Table(x, names))
    with pytest.raises(ValueError, match="X: expected columns of different names"):
        classifier.fit(Table(x, ["a", "a", "b", "c"]), y)


def test_clones_pipelines_and_cross_validation(model) -> None:
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = points(90)
    classifier = StreamClassifier(model).fit(x, y)
    assert is_classifier(classifier)
    assert not hasattr(clone(classifier), "classes_")
    scores = cross_val_score(make_pipeline(StandardScaler(), StreamClassifier(model)), x, np.array(["a", "b", "c"])[y], cv=3)
    assert scores.min() > 0.9
