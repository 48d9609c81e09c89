"""The conventions of scikit-learn for a classifier, without scikit-learn: it is imported only where it asks.

scikit-learn recognizes a classifier by its methods and tags; that it inherits from `BaseEstimator` is not looked at.
"""

import inspect
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from srwm.learner.labels import Labels, join_labels, read_labels


class NotFittedError(ValueError, AttributeError):
    """Raised instead of scikit-learn's exception of this name where scikit-learn is not installed."""


def not_fitted(name: str) -> Exception:
    """The error of an estimator that has learned nothing: NotFittedError of scikit-learn, else the one of this module."""
    message = f"This {name} instance is not fitted yet: call learn or fit with labeled images first."
    try:
        from sklearn.exceptions import NotFittedError as ScikitNotFittedError
    except ImportError:
        return NotFittedError(message)
    error: Exception = ScikitNotFittedError(message)
    return error


class Classifier:
    """Parameters, score and tags; a subclass keeps the arguments of its `__init__` as they are, under their names."""

    _estimator_type: ClassVar[str] = "classifier"

    def predict(self, X: object) -> Labels:
        """The label of each image, (n,)."""
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of `__init__`; none of them has parameters of its own, so `deep` changes nothing."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of `__init__`; they count from the next `fit`. Raises ValueError for an unknown name."""
        names = self._parameter_names()
        for name in params:
            if name not in names:
                raise ValueError(f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {list(names)!r}.")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def score(self, X: object, y: object, sample_weight: NDArray[np.float64] | None = None) -> float:
        """Accuracy: the share of images whose label is predicted. Raises ValueError for labels that do not fit."""
        labels, predicted = read_labels(y), self.predict(X)
        if len(labels) != len(predicted):
            raise ValueError(f"labels: expected one per image, {len(predicted)}, got {len(labels)}")
        join_labels(predicted, labels)
        return float(np.average(predicted == labels, weights=sample_weight))

    def __repr__(self) -> str:
        defaults = {name: parameter.default for name, parameter in self._parameter_names().items()}
        shown = {name: value for name, value in self.get_params().items() if value is not defaults[name]}
        texts = (f"{k}={v!r}" if isinstance(v, str | int | Path) else f"{k}=<{type(v).__name__}>" for k, v in shown.items())
        return f"{type(self).__name__}({', '.join(texts)})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )

    @classmethod
    def _parameter_names(cls) -> dict[str, inspect.Parameter]:
        signature = inspect.signature(cls.__init__)
        return {name: parameter for name, parameter in signature.parameters.items() if name != "self"}
