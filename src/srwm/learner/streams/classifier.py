"""A classifier of streams, which learns each sample as it comes, without gradient steps or settings."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from srwm.learner.estimator import not_fitted
from srwm.learner.labels import Labels
from srwm.learner.pretrained import DEFAULT_STREAMS, HubOptions, load_stream_model
from srwm.learner.streams.river import RiverClassifier, register
from srwm.learner.streams.state import LearnedStream
from srwm.learner.streams.state_file import load_state, save_state
from srwm.streams.model import StreamModel

_LOCK = "_learning_lock"


class StreamClassifier(RiverClassifier):
    """An online classifier: its recurrent state changes with each labeled sample, its weights do not.

    It follows the conventions of River (`learn_one`, `predict_one`, `predict_proba_one`; samples are dicts) and of scikit-learn
    (`partial_fit`, `fit`, `predict`, `predict_proba`; samples are rows of arrays or data frames). Neither must be installed.
    Numbers, bools and categories may be missing, and new features and classes may come at any time. Memory and time per sample
    are bounded. Predictions change nothing, and may run in several threads, also while another thread learns: each uses the
    state at the time of its call. Calls that learn take turns.
    """

    _samples = "samples"
    _state: LearnedStream | None = None

    def __init__(self, model: str | Path | StreamModel = DEFAULT_STREAMS) -> None:
        """Store the settings. The model is loaded by the first call that learns.

        Args:
            model: The name of a bundled checkpoint of streams, a folder or a repository of the Hugging Face Hub, as
                `from_pretrained` takes it, or a model, which is copied.
        """
        self.model = model
        register(type(self))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != _LOCK}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        register(type(self))

    @property
    def _learning(self) -> Lock:
        """The lock of calls that learn, made by the first of them."""
        lock: Lock = vars(self).setdefault(_LOCK, Lock())
        return lock

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT_STREAMS, **hub: Unpack[HubOptions]) -> Self:
        """A classifier whose model is loaded at once.

        Args:
            name: The model, as `srwm.learner.pretrained.load_stream_model` takes it.
            **hub: Options for the Hugging Face Hub, as in `srwm.load_model`.

        Returns:
            The classifier.

        Raises:
            UserError: The model cannot be loaded.
        """
        model = load_stream_model(name, **hub)
        classifier = cls(model if hub else name)
        classifier._state = _fresh(model)
        return classifier

    def learn_one(self, x: Mapping[Any, Any], y: object) -> None:
        """Learn one labeled sample.

        Args:
            x: Features by name: numbers, bools, or strings and other hashable values as categories. Features that are None, NaN
                or not there are missing.
            y: The label: a string, a number or a bool.

        Raises:
            ValueError: A number is not finite in float32, the label is not valid, or there are more classes than the model
                has. The classifier has not changed then.
            TypeError: A value is neither a number nor hashable, or x is no mapping.
            UserError: The model cannot be loaded.
        """
        with self._learning:
            self._state = self._begun().after_one(x, y)

    def predict_one(self, x: Mapping[Any, Any]) -> Any:
        """The most probable label of one sample.

        Args:
            x: Features by name, as in `learn_one`.

        Returns:
            The label; None before the first label.

        Raises:
            ValueError: A number is not finite in float32.
            TypeError: As `learn_one`.
        """
        probabilities = self.predict_proba_one(x)
        return max(probabilities, key=probabilities.__getitem__) if probabilities else None

    def predict_proba_one(self, x: Mapping[Any, Any]) -> dict[Any, float]:
        """The probability of each label for one sample.

        Args:
            x: Features by name, as in `learn_one`.

        Returns:
            Probabilities by label, for each that was shown so far; empty before the first.

        Raises:
            ValueError: A number is not finite in float32.
            TypeError: As `learn_one`.
        """
        state = self._state
        return {} if state is None else state.probabilities_one(x)

    def fit(self, X: object, y: object) -> Self:
        """Forget everything, apply the current settings, and learn samples in the given order.

        Args:
            X: An array, a tensor, a data frame or nested lists, (n, columns), or a list of dicts. NaN and None are missing.
            y: One label for each sample.

        Returns:
            The classifier itself.

        Raises:
            ValueError: As `partial_fit`.
            TypeError: As `partial_fit`.
            UserError: The model cannot be loaded.
        """
        with self._learning:
            self._state = self._fresh().after(X, y)
        return self

    def partial_fit(self, X: object, y: object, classes: object = None) -> Self:
        """Learn samples, in the given order, in addition to those learned before.

        Args:
            X: Samples, as in `fit`.
            y: One label for each.
            classes: All labels that will ever occur; `classes_` has them from the first call on. None: classes are added as
                they occur.

        Returns:
            The classifier itself.

        Raises:
            ValueError: Samples or labels do not fit, there are more classes than the model has, or `classes` differs from an
                earlier call. The classifier has not changed then.
            TypeError: A value is neither a number nor hashable, or X is sparse.
            UserError: The model cannot be loaded.
        """
        with self._learning:
            before = self._begun()
            declared = before if classes is None else before.declaring(classes)
            self._state = declared.after(X, y)
        return self

    def predict(self, X: object) -> Labels:
        """The most probable label of each sample, as if each were the next one of the stream.

        Args:
            X: Samples, as in `fit`.

        Returns:
            Labels (n,), of the type of the learned labels.

        Raises:
            NotFittedError: Nothing was learned; scikit-learn's exception if it is installed.
            ValueError: Samples do not fit.
            TypeError: As `partial_fit`.
        """
        learned = self._learned()
        labels: Labels = learned.classes.sorted[learned.probabilities(X).argmax(1)]
        return labels

    def predict_proba(self, X: object) -> NDArray[np.float64]:
        """The probability of each class for each sample, as if each were the next one of the stream.

        Args:
            X: Samples, as in `fit`.

        Returns:
            (n, classes) in the order of `classes_`; exactly 0 for a class that has not been shown yet.

        Raises:
            NotFittedError: Nothing was learned; scikit-learn's exception if it is installed.
            ValueError: Samples do not fit.
            TypeError: As `partial_fit`.
        """
        return self._learned().probabilities(X)

    def forget(self) -> Self:
        """Forget all learned samples; the model stays loaded.

        Returns:
            The classifier itself.
        """
        with self._learning:
            self._state = None if self._state is None else self._state.forgotten()
        return self

    def copy(self) -> Self:
        """A classifier that has learned the same. The two learn independently from here on, and share the model's weights.

        Returns:
            The copy.
        """
        made = type(self)(**self.get_params())
        made._state = self._state
        return made

    def save(self, path: str | Path) -> None:
        """Write what was learned, without the model, to one safetensors file.

        Args:
            path: The file; a link, a pipe or a device is refused.

        Raises:
            NotFittedError: Nothing was learned.
            UserError: The file cannot be written.
            ValueError: Labels are neither strings nor numbers nor bools.
        """
        save_state(Path(path), self._learned())

    def load(self, path: str | Path) -> Self:
        """Replace what was learned by what a file holds.

        Args:
            path: A file that `save` wrote.

        Returns:
            The classifier itself.

        Raises:
            UserError: The file is corrupt, or was saved with another model.
        """
        with self._learning:
            fresh = self._fresh() if self._state is None else self._state.forgotten()
            self._state = load_state(Path(path), fresh)
        return self

    @property
    def classes_(self) -> Labels:
        """The labels, sorted.

        Raises:
            NotFittedError: Nothing was learned. The attributes below raise it too.
        """
        return self._learned().classes.sorted

    @property
    def model_(self) -> StreamModel:
        """The model in use, in evaluation mode. It must not be changed."""
        return self._learned().model

    def __sklearn_is_fitted__(self) -> bool:
        return self._state is not None and self._state.classes.labels is not None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        tags.input_tags.allow_nan = tags.input_tags.categorical = True
        return tags

    def _learned(self) -> LearnedStream:
        state = self._state
        if state is None or state.classes.labels is None:
            raise not_fitted(type(self).__name__)
        return state

    def _begun(self) -> LearnedStream:
        return self._fresh() if self._state is None else self._state

    def _fresh(self) -> LearnedStream:
        given = self.model
        return _fresh(deepcopy(given) if isinstance(given, StreamModel) else load_stream_model(given))


def _fresh(model: StreamModel) -> LearnedStream:
    return LearnedStream.fresh(model.eval().requires_grad_(False))
