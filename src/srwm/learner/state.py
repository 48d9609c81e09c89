"""The state of a learner: the recurrent state of its model, and the label of each label index."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srwm.data.drawings.ink import InkReport
from srwm.fewshot.evaluation.tta import views
from srwm.fewshot.images import map_batched
from srwm.fewshot.models.config import HeadName
from srwm.fewshot.models.metadata import Preprocess, Rejection
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.classes import Classes
from srwm.learner.heads import head_logits, most_classes, remember
from srwm.learner.images import ImageInput, read_images
from srwm.learner.labels import Labels, positions, read_labels
from srwm.learner.seen import blank, check_learnable, illegible, warn_of_blank, warn_of_doubtful
from srwm.learner.tables import check_column_names, column_names
from srwm.learner.threads import threads_for
from srwm.learner.unknown import ClassExamples, acceptance, distances, unknown_mass
from srwm.nn import State
from srwm.nn.state import leaves

MAX_SEED = 2**32


class _Answers(NamedTuple):
    """What the model says about n images, by label index."""

    probabilities: NDArray[np.float64]
    """(n, label indices)"""
    distances: Tensor
    """to the class means (n, label indices), or (n, 0) without examples"""
    farthest: float
    """the greatest distance that is possible"""
    reports: tuple[InkReport, ...]
    """what was seen on each, or none"""

    @property
    def no_character(self) -> NDArray[np.bool_]:
        """Which images were seen to hold no character, (n,)."""
        return illegible(self.reports) if self.reports else np.zeros(len(self.probabilities), dtype=bool)

    def mass(self, rejection: Rejection) -> NDArray[np.float64]:
        """The probability of being unknown, (n,)."""
        found: NDArray[np.float64] = unknown_mass(self.distances, rejection).numpy()
        found[self.no_character] = 1
        return found


@dataclass(frozen=True, eq=False)
class LearnerState:
    """A model and its state after labeled images. It is immutable: learning returns a new one."""

    model: FewShotModel
    preprocess: Preprocess
    tta_passes: int = 1
    """number of test-time-augmented passes, the first axis of the state: in the given order, then in random orders, each with
    the next of the model's views"""
    seed: int = 0
    """seed of the random orders"""
    state: State | None = None
    """state of the model's stack after the images"""
    labels: Labels | None = None
    """the label of each label index in use, in order of appearance"""
    declared: Labels | None = None
    """all labels that will ever occur, sorted, if they were declared"""
    count: int = 0
    """number of labeled images learned"""
    columns: int | None = None
    """number of columns, where images were rows of a table"""
    feature_names: tuple[str, ...] | None = None
    """names of the columns, where images were rows of a data frame"""
    examples: ClassExamples | None = None
    """the examples of each label index; None: nothing was learned, or an earlier version saved what was"""
    head: HeadName = "memory"
    """what answers: class means, the memory, or both"""

    @property
    def classes(self) -> Labels:
        """The declared labels, else the learned ones, sorted."""
        return self._classes.sorted

    @property
    def _classes(self) -> Classes:
        return Classes(most_classes(self.model, self.head), "ways", self.labels, self.declared)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    def forgotten(self) -> Self:
        """The same model without learned images.

        Returns:
            The new state; this one stays as it is.
        """
        return replace(self, state=None, labels=None, declared=None, count=0, columns=None, feature_names=None, examples=None)

    def declaring(self, classes: object) -> Self:
        """The state with all labels declared.

        Args:
            classes: All labels that will ever occur.

        Returns:
            The new state.

        Raises:
            ValueError: They are more than `n_way`, or differ from those declared or learned before.
        """
        return replace(self, declared=self._classes.declaring(classes).declared)

    @torch.no_grad()
    def after(self, images: object, labels: object) -> Self:
        """The state after labeled images.

        Args:
            images: One or more images.
            labels: One label for each.

        Returns:
            The new state.

        Raises:
            ValueError: Images or labels do not fit, there are too many classes, or the model's state would not stay finite.
        """
        names = self._names(images)
        pixels, columns, reports = self._read(images)
        given = read_labels(labels)
        if len(given) != len(pixels):
            raise ValueError(f"labels: expected one per sample, {len(pixels)}, got {len(given)}")
        if not len(given):
            raise ValueError("images: expected one or more, got none")
        check_learnable(reports or ())
        known = self._classes.joined(given).labels
        assert known is not None
        slots = torch.from_numpy(positions(given, known)).to(self.device)
        order = self._order(len(given)).to(self.device)
        with threads_for(len(pixels)):
            features = map_batched(self._embed, pixels.to(self.device)).transpose(0, 1)
            examples = self._with_examples(features, slots, len(known))
            ordered = features.take_along_dim(order[..., None], 1)
            state = remember(self.model, self.head, ordered, slots[order], self.state)
        parts = [*([] if state is None else leaves(state)), *([] if examples is None else [examples.sums])]
        if not all(part.isfinite().all() for part in parts):
            raise ValueError("images: expected numbers for which the model's state stays finite, got too large ones")
        warn_of_doubtful(reports or ())
        count, columns = self.count + len(given), columns or self.columns
        return replace(self, state=state, labels=known, count=count, columns=columns, feature_names=names, examples=examples)

    def probabilities(self, images: object, unknown: bool = False) -> NDArray[np.float64]:
        """The probability of each class for each image.

        Args:
            images: One or more images.
            unknown: Whether a last column has the probability of none of the classes.

        Returns:
            (n, classes) in the order of `classes`, or (n, classes + 1); exactly 0 for a class that has not been learned. An
            image without ink, or of very many strokes, has probability 1 of being unknown. Without `unknown` all learned
            classes are equally probable for one without ink.

        Raises:
            ValueError: Images do not fit, numbers are too large, nothing has been learned, or the model has no calibration of
                what is unknown.
        """
        rejection = self._rejection() if unknown else None
        answers = self._answers(images)
        if rejection is None:
            warn_of_blank(answers.reports)
            return self._by_class(answers.probabilities, 0.0)
        return self._with_mass(answers, answers.mass(rejection))

    def judged(self, images: object) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The probability of each class, and of none of them, for each image; also of a model without a calibration.

        Args:
            images: One or more images.

        Returns:
            (n, classes + 1), as from `probabilities`, where without a calibration only an image without ink is unknown; and
            which images have no ink, (n,).

        Raises:
            ValueError: Images do not fit, numbers are too large, or nothing has been learned.
        """
        answers = self._answers(images)
        without = blank(answers.reports) if answers.reports else np.zeros(len(answers.probabilities), dtype=bool)
        rejection = None if self.examples is None else self.model.metadata.rejection
        mass = without.astype(np.float64) if rejection is None else answers.mass(rejection)
        return self._with_mass(answers, mass), without

    def acceptance(self, images: object) -> NDArray[np.float64]:
        """How surely each class takes each image as its own.

        Args:
            images: One or more images.

        Returns:
            (n, classes) in the order of `classes`, positive where the class takes the image; where no number of a row is, the
            image is unknown.

        Raises:
            ValueError: As `probabilities`.
        """
        rejection, answers = self._rejection(), self._answers(images)
        least = 1 - answers.farthest / rejection.threshold
        accepted = acceptance(answers.distances, rejection).numpy()
        accepted[answers.no_character] = least
        return self._by_class(accepted, least)

    @torch.inference_mode()
    def _answers(self, images: object) -> "_Answers":
        if self.labels is None:
            raise ValueError("images: expected after labeled ones were learned, got them before")
        self._names(images)
        pixels, _, reports = self._read(images)
        slots, width = len(self.labels), self.model.num_features

        def answered(part: Tensor) -> Tensor:
            features = self._embed(part).transpose(0, 1)
            logits = head_logits(self.model, self.head, features, self.state, self.examples)
            if not logits.isfinite().all():
                raise ValueError("images: expected numbers for which logits are finite, got too large ones")
            probabilities = logits[..., :slots].double().softmax(-1).mean(0)
            if self.examples is None:
                return probabilities
            return torch.cat([probabilities, distances(features, self.examples)[:, :slots]], dim=1)

        if not len(pixels):
            return _Answers(np.zeros((0, slots)), torch.zeros(0, slots, dtype=torch.float32, device="cpu"), 4.0 * width, ())
        with threads_for(len(pixels)):
            both = map_batched(answered, pixels.to(self.device)).cpu()
        probabilities = both[:, :slots].numpy()
        warn_of_doubtful(reports or ())
        probabilities[blank(reports or ()).nonzero()] = 1 / slots
        return _Answers(probabilities, both[:, slots:], 4.0 * width, reports or ())

    def _with_mass(self, answers: "_Answers", mass: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities by class with the mass (n,) of being unknown as a last column."""
        known = self._by_class(answers.probabilities, 0.0) * (1 - mass[:, None])
        return np.concatenate([known, mass[:, None]], axis=1)

    def _by_class(self, values: NDArray[np.float64], other: float) -> NDArray[np.float64]:
        """Values (n, label indices) in the order of `classes`, (n, classes); `other` for those that have not been learned."""
        assert self.labels is not None
        classes = self.classes
        out = np.full((len(values), len(classes)), other)
        out[:, positions(self.labels, classes)] = values
        return out

    def _rejection(self) -> Rejection:
        rejection = self.model.metadata.rejection
        if rejection is None:
            raise ValueError("unknown: expected a model whose metadata say what it rejects, got one without `rejection`")
        if self.labels is not None and self.examples is None:
            raise ValueError("unknown: an earlier version of srwm saved what was learned; learn the examples again")
        return rejection

    def _with_examples(self, features: Tensor, slots: Tensor, n_way: int) -> ClassExamples | None:
        """The examples of each class with new ones, features (R, T, F)."""
        if self.labels is not None and self.examples is None:
            return None
        before = self.examples or ClassExamples.none(self.tta_passes, features)
        return before.after(features, slots, n_way)

    def _read(self, images: object) -> ImageInput:
        return read_images(images, self.model.config, self.preprocess, self.columns)

    def _names(self, images: object) -> tuple[str, ...] | None:
        """The names of the columns; a table with other names is an error."""
        given = column_names(images)
        if self.labels is None:
            return given
        check_column_names(self.feature_names, given, "FewShotLearner")
        return self.feature_names

    def _embed(self, images: Tensor) -> Tensor:
        """Features (P, tta_passes, F) of images (P, ...), with the view of each pass."""
        seen = [view(images) for view in views(self.model.config)[: self.tta_passes]]
        features = map_batched(self.model.embed, torch.cat(seen)).view(len(seen), len(images), -1)
        return features[torch.arange(self.tta_passes, device=features.device) % len(seen)].transpose(0, 1)

    def _order(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + self.count)
        at_random = [torch.randperm(count, generator=generator, device="cpu") for _ in range(self.tta_passes - 1)]
        return torch.stack([torch.arange(count, device="cpu"), *at_random])
