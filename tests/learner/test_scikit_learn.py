"""The conventions of scikit-learn."""

import pickle

import numpy as np
import pytest

from srwm import FewShotLearner

from .conftest import LABELS, WAYS, WIDTH, points


def test_parameters_are_kept_as_they_are(trained) -> None:
    learner = FewShotLearner(trained, "none", 2, random_state=7)
    params = {"model": trained, "preprocess": "none", "tta_passes": 2, "random_state": 7, "head": "auto"}
    assert vars(learner) == params
    learner.fit(*points(3, 2, 0))
    assert learner.get_params() == params
    assert learner.get_params()["model"] is trained
    assert learner.set_params(tta_passes=5, preprocess="auto") is learner
    assert (learner.tta_passes, learner.preprocess) == (5, "auto")
    with pytest.raises(ValueError, match=r"Invalid parameter 'depth' for estimator FewShotLearner\(.*'random_state', 'head'\]"):
        learner.set_params(tta_passes=1, depth=3)
    assert learner.tta_passes == 5
    assert repr(FewShotLearner()) == "FewShotLearner()"
    assert repr(learner) == "FewShotLearner(model=<FewShotModel>, tta_passes=5, random_state=7)"


def test_methods_that_learn_return_the_learner(trained, tmp_path) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained)
    assert learner.fit(x, y) is learner
    assert learner.partial_fit(x, y) is learner
    assert learner.learn(x, y) is learner
    learner.save(tmp_path / "state")
    assert learner.load(tmp_path / "state") is learner
    assert learner.forget() is learner


def test_before_it_learned_nothing_is_there(trained) -> None:
    exceptions = pytest.importorskip("sklearn.exceptions")
    learner = FewShotLearner(trained)
    x, y = points(3, 2, 0)
    for call in (
        lambda: learner.predict(x),
        lambda: learner.predict_proba(x),
        lambda: learner.score(x, y),
        lambda: learner.state_,
    ):
        with pytest.raises(exceptions.NotFittedError, match="This FewShotLearner instance is not fitted yet"):
            call()
    assert not hasattr(learner, "classes_")
    assert not hasattr(learner, "n_features_in_")


def test_columns_of_tables_are_counted(trained, drawn, images) -> None:
    x, y = points(3, 2, 0)
    learner = FewShotLearner(trained).fit(x, y)
    assert learner.n_features_in_ == WIDTH
    with pytest.raises(ValueError, match="X has 15 features, but FewShotLearner is expecting 16 features as input"):
        learner.predict(x[:, 1:])
    learner = FewShotLearner(drawn).fit(images.reshape(6, -1), LABELS)
    with pytest.raises(ValueError, match="X has 64 features, but FewShotLearner is expecting 784 features as input"):
        learner.predict(np.zeros((5, 64)))
    assert not hasattr(FewShotLearner(drawn).fit(images, LABELS), "n_features_in_")


class Table:
    """Rows with names, as data frames have them."""

    def __init__(self, rows: np.ndarray, columns: list[object]) -> None:
        self.rows, self.columns = rows, columns

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.rows


def test_names_of_columns_are_compared(trained, tmp_path) -> None:
    x, y = points(3, 2, 0)
    names = [f"x{i}" for i in range(WIDTH)]
    learner = FewShotLearner(trained).fit(Table(x, names), y)
    assert learner.feature_names_in_.tolist() == names
    expected = FewShotLearner(trained).fit(x, y).predict_proba(x)
    assert np.array_equal(learner.predict_proba(Table(x, names)), expected)
    learner.save(tmp_path / "state")
    for each in (learner, FewShotLearner(trained).load(tmp_path / "state")):
        for call in (each.predict_proba, lambda table, each=each: each.learn(table, y)):
            with pytest.raises(ValueError, match=r"The feature names should match.*\n.*in the same order"):
                call(Table(x[:, ::-1], names[::-1]))
            with pytest.raises(ValueError, match=r"The feature names should match.*\n.*: other, x0"):
                call(Table(x, ["other", *names[1:]]))
        with pytest.warns(UserWarning, match="X does not have valid feature names, but FewShotLearner was fitted with"):
            assert np.array_equal(each.predict_proba(x), expected)
    plain = FewShotLearner(trained).fit(x, y)
    with pytest.warns(UserWarning, match="X has feature names, but FewShotLearner was fitted without"):
        plain.predict(Table(x, names))
    assert not hasattr(plain, "feature_names_in_")
    assert not hasattr(FewShotLearner(trained).fit(Table(x, list(range(WIDTH))), y), "feature_names_in_")
    assert not hasattr(learner.fit(x, y), "feature_names_in_")


def test_the_score_is_the_share_of_right_answers(trained) -> None:
    x, y = points(3, 4, 0)
    learner = FewShotLearner(trained).fit(x, y)
    right = learner.predict(x) == y
    assert learner.score(x, y) == right.mean()
    weights = np.arange(len(y))
    weighted = learner.score(x, (y + 1) % 3, weights)
    assert weighted == pytest.approx((weights * (learner.predict(x) == (y + 1) % 3)).sum() / weights.sum())
    with pytest.raises(ValueError, match="labels: expected one per sample, 12, got 3"):
        learner.score(x, y[:3])


def test_pickling(trained, drawn, images) -> None:
    learner = FewShotLearner(drawn, tta_passes=2).fit(images, LABELS)
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        copy = pickle.loads(pickle.dumps(learner, protocol))
        assert np.array_equal(copy.predict_proba(images), learner.predict_proba(images))
        copy.learn(images[0], "d")
    assert learner.classes_.tolist() == ["a", "b", "c"]
    assert pickle.loads(pickle.dumps(FewShotLearner("somewhere"))).get_params()["model"] == "somewhere"


def test_clones_have_the_settings_alone(trained) -> None:
    base = pytest.importorskip("sklearn.base")
    x, y = points(3, 4, 0)
    learner = FewShotLearner(trained, tta_passes=2).fit(x, y)
    clone = base.clone(learner)
    assert not hasattr(clone, "classes_")
    assert clone.tta_passes == 2
    assert np.array_equal(clone.fit(x, y).predict_proba(x), learner.predict_proba(x))
    assert base.clone(FewShotLearner("name")).model == "name"


def test_scikit_learn_sees_a_classifier(trained) -> None:
    base = pytest.importorskip("sklearn.base")
    from sklearn.exceptions import NotFittedError
    from sklearn.utils import get_tags
    from sklearn.utils.validation import check_is_fitted

    learner = FewShotLearner(trained)
    assert base.is_classifier(learner)
    tags = get_tags(learner)
    assert (tags.estimator_type, tags.target_tags.required, tags.classifier_tags.multi_class) == ("classifier", True, True)
    with pytest.raises(NotFittedError):
        check_is_fitted(learner)
    check_is_fitted(learner.fit(*points(3, 2, 0)))


def test_model_selection_and_pipelines(trained) -> None:
    pytest.importorskip("sklearn")
    from sklearn.ensemble import VotingClassifier
    from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    x, y = points(WAYS, 12, 2)
    y = np.array(["owl", "bee", "cat", "dog"])[y]
    scores = cross_val_score(FewShotLearner(trained), x, y, cv=4)
    assert scores.mean() > 0.5
    pipeline = make_pipeline(FunctionTransformer(lambda x: 2 * x), FewShotLearner(trained)).fit(x / 2, y)
    assert np.array_equal(pipeline.predict_proba(x / 2), FewShotLearner(trained).fit(x, y).predict_proba(x))
    assert pipeline.classes_.tolist() == ["bee", "cat", "dog", "owl"]
    assert "FewShotLearner" in repr(pipeline)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), FewShotLearner(trained)), {"fewshotlearner__tta_passes": [1, 3]}, cv=3
    )
    found = search.fit(x, y).cv_results_["mean_test_score"]
    by_hand = [
        cross_val_score(make_pipeline(StandardScaler(), FewShotLearner(trained, tta_passes=n)), x, y, cv=3) for n in (1, 3)
    ]
    assert found.tolist() == [scores.mean() for scores in by_hand]
    assert cross_val_predict(FewShotLearner(trained), x, y, cv=3, method="predict_proba").shape == (48, 4)
    assert (
        VotingClassifier([("a", FewShotLearner(trained)), ("b", FewShotLearner(trained))], voting="soft").fit(x, y).score(x, y)
    )


def test_lists_of_images_go_through_model_selection(drawn, images) -> None:
    selection = pytest.importorskip("sklearn.model_selection")
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(part).resize((20 + i, 30)) for i, part in enumerate(images)]
    assert len(selection.cross_val_score(FewShotLearner(drawn), pictures, LABELS, cv=2)) == 2
