"""Online classifiers of River to compare with, by name, from the fastest to the slowest."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Number
from typing import Any

from srwm.streams.extra import import_optional
from srwm.streams.prequential import OnlineClassifier

_TREES = 10
"""Members of an ensemble."""
_GRACE_PERIOD = 50
"""Samples that a leaf sees between attempts to split, as in River's ensembles; River's default for a single tree is 200."""
_WINDOW = 1_000
"""Samples among which the nearest neighbors are searched."""


@dataclass(frozen=True)
class Baseline:
    """A learner of River. Settings that are not described are River's defaults."""

    title: str
    """its name in tables and figures"""
    about: str
    """its settings, in one line"""
    make: Callable[[int], OnlineClassifier]
    """a fresh one from a seed; UserError if River is not installed"""


def _river(name: str, *arguments: Any, **options: Any) -> Any:
    module, _, kind = name.rpartition(".")
    return getattr(import_optional(f"river.{module}"), kind)(*arguments, **options)


def _encoded(*, scaled: bool) -> Any:
    """Numbers, standardized or as they are, and strings as zeros and ones."""
    numbers = _river("compose.SelectType", Number)
    if scaled:
        numbers |= _river("preprocessing.StandardScaler")
    strings = _river("compose.SelectType", str) | _river("preprocessing.OneHotEncoder")
    return _river("compose.TransformerUnion", numbers, strings)


def _naive_bayes(seed: int) -> OnlineClassifier:
    classifier: OnlineClassifier = _encoded(scaled=False) | _river("naive_bayes.GaussianNB")
    return classifier


def _softmax(seed: int) -> OnlineClassifier:
    classifier: OnlineClassifier = _encoded(scaled=True) | _river("linear_model.SoftmaxRegression")
    return classifier


def _nearest_neighbors(seed: int) -> OnlineClassifier:
    window = _river("neighbors.LazySearch", window_size=_WINDOW)
    classifier: OnlineClassifier = _encoded(scaled=True) | _river("neighbors.KNNClassifier", n_neighbors=5, engine=window)
    return classifier


def _adaptive_tree(seed: int) -> OnlineClassifier:
    tree: OnlineClassifier = _river("tree.HoeffdingAdaptiveTreeClassifier", grace_period=_GRACE_PERIOD, seed=seed)
    return tree


def _adaptive_forest(seed: int) -> OnlineClassifier:
    forest: OnlineClassifier = _river("forest.ARFClassifier", n_models=_TREES, seed=seed)
    return forest


def _random_patches(seed: int) -> OnlineClassifier:
    patches: OnlineClassifier = _river("ensemble.SRPClassifier", n_models=_TREES, seed=seed)
    return patches


BASELINES = {
    "softmax": Baseline("softmax regression", "numbers standardized, strings one-hot", _softmax),
    "naive-bayes": Baseline("Gaussian naive Bayes", "strings one-hot", _naive_bayes),
    "adaptive-tree": Baseline("Hoeffding adaptive tree", f"grace period {_GRACE_PERIOD}", _adaptive_tree),
    "nearest-neighbors": Baseline(
        "5 nearest neighbors", f"of the last {_WINDOW:,} samples, numbers standardized, strings one-hot", _nearest_neighbors
    ),
    "adaptive-forest": Baseline("adaptive random forest", f"{_TREES} trees", _adaptive_forest),
    "random-patches": Baseline("streaming random patches", f"{_TREES} trees", _random_patches),
}
"""All of them. None has an answer before the first label."""
