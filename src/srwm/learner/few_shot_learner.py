"""A classifier that learns from a few labeled images in milliseconds, without a gradient step."""

from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.estimator import Classifier, not_fitted
from srwm.learner.labels import Labels
from srwm.learner.pretrained import DEFAULT, HubOptions, load_model
from srwm.learner.state import MAX_SEED, LearnerState
from srwm.learner.state_file import load_state, save_state
from srwm.nn import State

_LEARNING = Lock()


class FewShotLearner(Classifier):
    """A few-shot classifier: it learns classes from labeled images by changing the state of its memory, not its weights.

    Images are arrays, tensors, PIL images, or lists of them of any sizes: (H, W), (n, H, W), (n, C, H, W), or rows
    (n, C * H * W) of a table; uint8, bool, or floating in [0, 1]. Labels are texts, numbers or bools, of as many classes as
    the model has ways. A classifier after the conventions of scikit-learn, which need not be installed. Predictions may run
    in many threads, also while another one learns: each is made with what was known when it began.
    """

    _state: LearnerState | None = None

    def __init__(
        self,
        model: str | Path | FewShotModel = DEFAULT,
        preprocess: Literal["auto", "ink", "none"] = "auto",
        tta_passes: int = 1,
        random_state: int = 0,
    ) -> None:
        """Keep the settings; the model is loaded when images are learned.

        Args:
            model: What `srwm.load_model` takes, or a model, of which a copy is used.
            preprocess: What each image goes through, `srwm.data.drawings.ink.normalize_ink` (`ink`) or nothing (`none`);
                `auto` does what the model was trained with.
            tta_passes: Number of test-time-augmented passes over the labeled images of a call: as they come, then in random
                orders, each with all images seen through the next of `srwm.fewshot.evaluation.tta.views`. Predictions are
                averaged, and cost up to as many times the time.
            random_state: The seed of the random orders, 0 to 2**32 - 1.
        """
        self.model = model
        self.preprocess = preprocess
        self.tta_passes = tta_passes
        self.random_state = random_state

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = DEFAULT,
        *,
        preprocess: Literal["auto", "ink", "none"] = "auto",
        tta_passes: int = 1,
        random_state: int = 0,
        **hub: Unpack[HubOptions],
    ) -> Self:
        """A learner whose model is loaded at once.

        Args:
            name: The model, as `srwm.load_model` takes it.
            preprocess: As in `FewShotLearner`.
            tta_passes: As in `FewShotLearner`.
            random_state: As in `FewShotLearner`.
            **hub: Options for the Hugging Face Hub, as in `srwm.load_model`.

        Raises:
            UserError: The model cannot be loaded.
        """
        model = load_model(name, **hub)
        learner = cls(model if hub else name, preprocess, tta_passes, random_state)
        learner._state = learner._fresh(model)
        return learner

    def learn(self, images: object, labels: object) -> Self:
        """Learn labeled images, in the order given, in addition to all that was learned before.

        Args:
            images: One or more images.
            labels: One label for each.

        Returns:
            The learner itself.

        Raises:
            ValueError: Images or labels do not fit, or there are more classes than the model has ways; nothing has changed.
            UserError: The model cannot be loaded.
        """
        return self.partial_fit(images, labels)

    def forget(self) -> Self:
        """Forget all that was learned; the model stays."""
        with _LEARNING:
            self._state = None if self._state is None else self._state.forgotten()
        return self

    def fit(self, X: object, y: object) -> Self:
        """Forget everything, take the settings as they are now, and learn. Raises as `learn`."""
        with _LEARNING:
            self._state = self._fresh().after(X, y)
        return self

    def partial_fit(self, X: object, y: object, classes: object = None) -> Self:
        """`learn`; with `classes`, all labels that there will ever be, `classes_` holds them from the first call on.

        Raises as `learn`, and ValueError for classes other than those before, or labels that are none of them.
        """
        with _LEARNING:
            before = self._state or self._fresh()
            declared = before if classes is None else before.declaring(classes)
            self._state = declared.after(X, y)
        return self

    def predict(self, X: object) -> Labels:
        """The most probable label of each image.

        Args:
            X: One or more images.

        Returns:
            Labels (n,), of the type that the labels had.

        Raises:
            NotFittedError: Nothing was learned; scikit-learn's exception, if that is installed.
            ValueError: Images do not fit.
        """
        learned = self._learned()
        labels: Labels = learned.classes[learned.probabilities(X).argmax(1)]
        return labels

    def predict_proba(self, X: object) -> NDArray[np.float64]:
        """Probabilities (n, classes) in the order of `classes_`; exactly 0 for a class not yet learned. Raises as `predict`."""
        return self._learned().probabilities(X)

    def save(self, path: str | Path) -> None:
        """Write what was learned, not the model, to one safetensors file; no pickle.

        Args:
            path: The file; a link, a pipe or a device is refused.

        Raises:
            NotFittedError: Nothing was learned.
            UserError: The file cannot be written.
            ValueError: Labels are neither texts nor numbers nor bools.
        """
        save_state(Path(path), self._learned())

    def load(self, path: str | Path) -> Self:
        """Replace all that was learned by what was saved.

        Args:
            path: A file that `save` wrote.

        Returns:
            The learner itself.

        Raises:
            UserError: The file is corrupt, or another model learned it.
        """
        with _LEARNING:
            fresh = self._fresh() if self._state is None else self._state.forgotten()
            self._state = load_state(Path(path), fresh)
        return self

    @property
    def classes_(self) -> Labels:
        """The labels, sorted. Raises NotFittedError before anything was learned, as all that follow here do."""
        return self._learned().classes

    @property
    def n_features_in_(self) -> int:
        """Columns of the table of which the images were rows. Raises AttributeError where they came in another form."""
        columns = self._learned().columns
        if columns is None:
            raise AttributeError("n_features_in_: the images were not rows of a table")
        return columns

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns of the data frame that was learned. Raises AttributeError where images came without names."""
        names = self._learned().feature_names
        if names is None:
            raise AttributeError("feature_names_in_: the images were not rows of a data frame whose columns have names")
        return np.asarray(names, dtype=object)

    @property
    def model_(self) -> FewShotModel:
        """The model in use, in evaluation mode; not to be changed."""
        return self._learned().model

    @property
    def state_(self) -> State:
        """What the model's stack carries, a pytree with the axis of the test-time-augmented passes first; not to be changed."""
        return self._learned().state

    def __sklearn_is_fitted__(self) -> bool:
        return self._state is not None and self._state.labels is not None

    def _learned(self) -> LearnerState:
        state = self._state
        if state is None or state.labels is None:
            raise not_fitted(type(self).__name__)
        return state

    def _fresh(self, model: FewShotModel | None = None) -> LearnerState:
        if self.preprocess not in ("auto", "ink", "none"):
            raise ValueError(f"preprocess: expected auto, ink or none, got {self.preprocess!r}")
        if isinstance(self.tta_passes, bool) or not isinstance(self.tta_passes, int | np.integer) or self.tta_passes < 1:
            raise ValueError(f"tta_passes: expected a number from 1 up, got {self.tta_passes!r}")
        if not isinstance(self.random_state, int | np.integer) or not 0 <= self.random_state < MAX_SEED:
            raise ValueError(f"random_state: expected a whole number from 0 to 2**32 - 1, got {self.random_state!r}")
        if model is None:
            given = self.model
            model = deepcopy(given) if isinstance(given, FewShotModel) else load_model(given)
        preprocess = model.metadata.preprocess if self.preprocess == "auto" else self.preprocess
        return LearnerState(model.eval().requires_grad_(False), preprocess, int(self.tta_passes), int(self.random_state))
