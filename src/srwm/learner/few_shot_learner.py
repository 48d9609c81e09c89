"""A classifier that learns from a few labeled images in milliseconds, without gradient steps."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Literal, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.estimator import Classifier, not_fitted
from srwm.learner.heads import chosen_head
from srwm.learner.image_files import labeled_files
from srwm.learner.labels import Labels, with_unknown
from srwm.learner.pretrained import DEFAULT, HubOptions, load_model
from srwm.learner.state import MAX_SEED, LearnerState
from srwm.learner.state_file import load_state, save_state
from srwm.nn import State

_LEARNING = Lock()


class FewShotLearner(Classifier):
    """A few-shot classifier that learns classes from labeled images by changing its recurrent state, not its weights.

    Images are arrays, tensors, PIL images, or lists of them of any sizes: (H, W), (n, H, W), (n, C, H, W), or rows
    (n, C * H * W) of a table; integers in 0 to 255, bool, or floating in [0, 1]. They may also be paths: of files, of folders
    of images or of class folders, or glob patterns, whose images are read in alphabetical order. Labels are strings, numbers or
    bools. With the head `prototypes` any number of classes can be learned, with the others as many as the model's `n_way`.
    The class follows the conventions of scikit-learn, which need not be installed. Predictions may run in several threads, also
    while another thread learns: each uses the state at the time of its call.
    """

    _samples = "images"
    _state: LearnerState | None = None

    def __init__(
        self,
        model: str | Path | FewShotModel = DEFAULT,
        preprocess: Literal["auto", "ink", "none"] = "auto",
        tta_passes: int = 1,
        random_state: int = 0,
        head: Literal["auto", "prototypes", "memory", "residual"] = "auto",
    ) -> None:
        """Store the settings. The model is loaded by the first call of `learn` or `fit`.

        Args:
            model: A name or folder as for `srwm.load_model`, or a model, which is copied.
            preprocess: Preprocessing of each image: `srwm.data.drawings.ink.normalize_ink` (`ink`) or none (`none`); `auto`
                is the preprocessing that the model was trained with.
            tta_passes: Number of test-time-augmented passes whose predictions are averaged. The first pass reads the labeled
                images of a call in the given order. Each other pass reads them in a random order and applies the next of
                `srwm.fewshot.evaluation.tta.views` to all images. Time grows with the number of passes.
            random_state: Seed of the random orders, 0 to 2**32 - 1.
            head: What answers: class means of the features (`prototypes`), the self-modifying memory (`memory`), or both
                (`residual`). `auto` is the best: `prototypes`, or `memory` with a model that has nothing else.
        """
        self.head = head
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
        head: Literal["auto", "prototypes", "memory", "residual"] = "auto",
        **hub: Unpack[HubOptions],
    ) -> Self:
        """A learner whose model is loaded at once.

        Args:
            name: The model, as `srwm.load_model` takes it.
            preprocess: As in `FewShotLearner`.
            tta_passes: As in `FewShotLearner`.
            random_state: As in `FewShotLearner`.
            head: As in `FewShotLearner`.
            **hub: Options for the Hugging Face Hub, as in `srwm.load_model`.

        Returns:
            The learner.

        Raises:
            UserError: The model cannot be loaded.
        """
        model = load_model(name, **hub)
        learner = cls(model if hub else name, preprocess, tta_passes, random_state, head)
        learner._state = learner._fresh(model)
        return learner

    def learn(self, images: object, labels: object = None) -> Self:
        """Learn labeled images, in the given order, in addition to those learned before.

        Args:
            images: One or more images.
            labels: One label for each. None: the images are paths, and the label of a file is the name of its folder. Then the
                first image of each class is learned, then the second, and so on.

        Returns:
            The learner itself.

        Raises:
            ValueError: Images or labels do not fit, or there are more classes than the model's `n_way`. The learner has not
                changed then.
            UserError: The model cannot be loaded, or a file cannot be read.
        """
        if labels is None:
            images, labels = labeled_files(images)
        return self.partial_fit(images, labels)

    def forget(self) -> Self:
        """Forget all learned images; the model stays loaded.

        Returns:
            The learner itself.
        """
        with _LEARNING:
            self._state = None if self._state is None else self._state.forgotten()
        return self

    def fit(self, X: object, y: object) -> Self:
        """Forget all learned images, apply the current settings, and learn.

        Args:
            X: One or more images.
            y: One label for each.

        Returns:
            The learner itself.

        Raises:
            ValueError: As `learn`.
            UserError: As `learn`.
        """
        with _LEARNING:
            self._state = self._fresh().after(X, y)
        return self

    def partial_fit(self, X: object, y: object, classes: object = None) -> Self:
        """Learn labeled images in addition to those learned before.

        Args:
            X: One or more images.
            y: One label for each.
            classes: All labels that will ever occur; `classes_` has them from the first call on. None: classes are added as
                they occur.

        Returns:
            The learner itself.

        Raises:
            ValueError: As `learn`, or `classes` differs from an earlier call, or a label is not among them.
            UserError: As `learn`.
        """
        with _LEARNING:
            before = self._state or self._fresh()
            declared = before if classes is None else before.declaring(classes)
            self._state = declared.after(X, y)
        return self

    def predict(self, X: object, unknown: object = None) -> Labels:
        """The most probable label of each image.

        Args:
            X: One or more images.
            unknown: The answer for images that are of none of the learned classes, such as "unknown": drawings of something
                else, photographs, and images without ink. None: every image gets a learned label.

        Returns:
            Labels (n,), of the type of the learned labels; objects where `unknown` is of another kind.

        Raises:
            NotFittedError: Nothing was learned; scikit-learn's exception if it is installed.
            ValueError: Images do not fit, `unknown` is a learned label, or the model's metadata do not say what it rejects.
        """
        learned = self._learned()
        if unknown is None:
            labels: Labels = learned.classes[learned.probabilities(X).argmax(1)]
            return labels
        answers = with_unknown(learned.classes, unknown)
        probabilities = learned.probabilities(X, unknown=True)
        known, mass = probabilities[:, :-1], probabilities[:, -1]
        found: Labels = answers[np.where(mass < 0.5, known.argmax(1), len(learned.classes))]
        return found

    def predict_proba(self, X: object, unknown: bool = False) -> NDArray[np.float64]:
        """The probability of each class for each image.

        Args:
            X: One or more images.
            unknown: Whether a last column has the probability that the image is of none of the learned classes, which the
                other columns sum up to 1 with.

        Returns:
            (n, classes) in the order of `classes_`, or (n, classes + 1); exactly 0 for a class that has not been learned yet.

        Raises:
            NotFittedError: Nothing was learned; scikit-learn's exception if it is installed.
            ValueError: Images do not fit, or the model's metadata do not say what it rejects.
        """
        return self._learned().probabilities(X, unknown)

    @property
    def decision_function(self) -> Callable[[object], NDArray[np.float64]]:
        """A function from images to (n, classes): how surely each class takes each image as its own, by its distance to the
        mean of the class's examples.

        Numbers are positive where the class takes the image, and at most 1. An image for which no number is positive is what
        `predict` calls unknown. So it is with two classes, too.

        Raises:
            AttributeError: The model's metadata do not say what it rejects.
            NotFittedError: Nothing was learned.
        """
        learned = self._learned()
        if learned.model.metadata.rejection is None:
            raise AttributeError("decision_function: the model's metadata do not say what it rejects")
        return learned.acceptance

    def save(self, path: str | Path) -> None:
        """Write the learned state, without the model, to one safetensors file.

        Args:
            path: The file; a link, a pipe or a device is refused.

        Raises:
            NotFittedError: Nothing was learned.
            UserError: The file cannot be written.
            ValueError: Labels are neither strings nor numbers nor bools.
        """
        save_state(Path(path), self._learned())

    def load(self, path: str | Path) -> Self:
        """Replace the learned state by a saved one.

        Args:
            path: A file that `save` wrote.

        Returns:
            The learner itself.

        Raises:
            UserError: The file is corrupt, or was saved with another model.
        """
        with _LEARNING:
            fresh = self._fresh() if self._state is None else self._state.forgotten()
            self._state = load_state(Path(path), fresh)
        return self

    @property
    def classes_(self) -> Labels:
        """The labels, sorted.

        Raises:
            NotFittedError: Nothing was learned. The attributes below raise it too.
        """
        return self._learned().classes

    @property
    def model_(self) -> FewShotModel:
        """The model in use, in evaluation mode. It must not be changed."""
        return self._learned().model

    @property
    def state_(self) -> State | None:
        """The state of the model's stack: a pytree of tensors whose first axis is the test-time-augmented passes; None with the
        head `prototypes`. It must not be changed.
        """
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
        passes, seed, head = int(self.tta_passes), int(self.random_state), chosen_head(model, self.head)
        return LearnerState(model.eval().requires_grad_(False), preprocess, passes, seed, head=head)
