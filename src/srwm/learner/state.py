"""The state of a learner: the recurrent state of its model, and the label of each label index."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srwm.fewshot.evaluation.tta import views
from srwm.fewshot.images import map_batched
from srwm.fewshot.models.metadata import Preprocess
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.classes import Classes
from srwm.learner.images import read_images
from srwm.learner.labels import Labels, positions, read_labels
from srwm.learner.tables import check_column_names, column_names
from srwm.nn import State
from srwm.nn.state import leaves

MAX_SEED = 2**32


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

    @property
    def classes(self) -> Labels:
        """The declared labels, else the learned ones, sorted."""
        return self._classes.sorted

    @property
    def _classes(self) -> Classes:
        return Classes(self.model.config.n_way, "ways", self.labels, self.declared)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    def forgotten(self) -> Self:
        """The same model without learned images.

        Returns:
            The new state; this one stays as it is.
        """
        return replace(self, state=None, labels=None, declared=None, count=0, columns=None, feature_names=None)

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
        pixels, columns = self._read(images)
        given = read_labels(labels)
        if len(given) != len(pixels):
            raise ValueError(f"labels: expected one per sample, {len(pixels)}, got {len(given)}")
        if not len(given):
            raise ValueError("images: expected one or more, got none")
        known = self._classes.joined(given).labels
        assert known is not None
        features = map_batched(self._embed, pixels.to(self.device)).transpose(0, 1)
        slots = torch.from_numpy(positions(given, known)).to(self.device)
        order = self._order(len(given)).to(self.device)
        state = self.model.learn_features(features.take_along_dim(order[..., None], 1), slots[order], self.state)
        if not all(part.isfinite().all() for part in leaves(state)):
            raise ValueError("images: expected numbers for which the model's state stays finite, got too large ones")
        count, columns = self.count + len(given), columns or self.columns
        return replace(self, state=state, labels=known, count=count, columns=columns, feature_names=names)

    @torch.inference_mode()
    def probabilities(self, images: object) -> NDArray[np.float64]:
        """The probability of each class for each image.

        Args:
            images: One or more images.

        Returns:
            (n, classes) in the order of `classes`; exactly 0 for a class that has not been learned.

        Raises:
            ValueError: Images do not fit, numbers are too large, or nothing has been learned.
        """
        if self.labels is None:
            raise ValueError("images: expected after labeled ones were learned, got them before")
        self._names(images)
        pixels, _ = self._read(images)
        classes, slots = self.classes, len(self.labels)
        out = np.zeros((len(pixels), len(classes)))

        def predicted(part: Tensor) -> Tensor:
            logits = self.model.query_features(self._embed(part).transpose(0, 1), self.state)
            if not logits.isfinite().all():
                raise ValueError("images: expected numbers for which logits are finite, got too large ones")
            return logits[..., :slots].double().softmax(-1).mean(0)

        if len(pixels):
            out[:, positions(self.labels, classes)] = map_batched(predicted, pixels.to(self.device)).cpu().numpy()
        return out

    def _read(self, images: object) -> tuple[Tensor, int | None]:
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
