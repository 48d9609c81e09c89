"""The conventions of scikit-learn for a classifier. scikit-learn is not required, and is imported only when it is used.

scikit-learn recognizes a classifier by its methods and tags, so no class of scikit-learn is inherited.
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
    """The error of an estimator that has learned nothing.

    Args:
        name: The name of the estimator's class.

    Returns:
        scikit-learn's NotFittedError if it is installed, else the one of this module.
    """
    message = f"This {name} instance is not fitted yet: call fit with labeled samples first."
    try:
        from sklearn.exceptions import NotFittedError as ScikitNotFittedError
    except ImportError:
        return NotFittedError(message)
    error: Exception = ScikitNotFittedError(message)
    return error


class Classifier:
    """Parameters, score and tags of a classifier. A subclass stores each argument of `__init__` unchanged under its name."""

    _estimator_type: ClassVar[str] = "classifier"
    _samples: ClassVar[str]
    """What error messages call the samples."""

    def _learned(self) -> Any:
        """What was learned, with `columns` and `feature_names` of tables. Raises NotFittedError if nothing was."""
        raise NotImplementedError

    @property
    def n_features_in_(self) -> int:
        """Number of columns, where the samples were rows of tables.

        Raises:
            AttributeError: They were not.
        """
        columns: int | None = self._learned().columns
        if columns is None:
            raise AttributeError(f"n_features_in_: the {self._samples} were not rows of a table")
        return columns

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns, where the samples were rows of data frames.

        Raises:
            AttributeError: They were not, or the columns have no names.
        """
        names = self._learned().feature_names
        if names is None:
            raise AttributeError(
                f"feature_names_in_: the {self._samples} were not rows of a data frame whose columns have names"
            )
        return np.asarray(names, dtype=object)

    def predict(self, X: object) -> Labels:
        """The predicted label of each sample.

        Args:
            X: Samples.

        Returns:
            (n,).

        Raises:
            NotImplementedError: Always, unless a subclass defines it.
        """
        raise NotImplementedError

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of `__init__` by name.

        Args:
            deep: Has no effect, since no argument is an estimator.

        Returns:
            The values by name.
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments of `__init__`. They take effect at the next `fit`.

        Args:
            **params: The new values by name.

        Returns:
            The estimator itself.

        Raises:
            ValueError: A name is unknown.
        """
        names = self._parameter_names()
        for name in params:
            if name not in names:
                raise ValueError(f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {list(names)!r}.")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def score(self, X: object, y: object, sample_weight: NDArray[np.float64] | None = None) -> float:
        """Accuracy: the share of samples whose label is predicted correctly.

        Args:
            X: Samples.
            y: Their labels.
            sample_weight: Weights (n,) of the samples; None weights all equally.

        Returns:
            The accuracy in [0, 1].

        Raises:
            ValueError: The number of labels does not fit.
        """
        labels, predicted = read_labels(y), self.predict(X)
        if len(labels) != len(predicted):
            raise ValueError(f"labels: expected one per sample, {len(predicted)}, got {len(labels)}")
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
