"""The interface of a protocol: what the training loop, validation and test need to know of it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from srwm.data import ImageClasses, Split
from srwm.fewshot.auxiliary import build_auxiliary
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import EpisodeShape, Sampler, Step, draw_episodes
from srwm.fewshot.evaluation.adaptation import Adaptation
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.fewshot.images import standardize
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.factory import build_model

Sets: TypeAlias = Sequence[ImageClasses]
"""The data sets of a protocol, all of the same split."""


class Losses(NamedTuple):
    """What one batch comes to: the loss to minimize, (); accuracy in [0, 1], (); and terms of the loss by name, unweighted.

    The term `train_loss` is the cross-entropy of the answers.
    """

    loss: Tensor
    accuracy: Tensor
    terms: dict[str, Tensor]


class Evaluation(NamedTuple):
    """Accuracy over episodes; of streams also that at every step, for each order of the tasks; else the features of the images
    through each view."""

    accuracy: Accuracy
    adaptations: tuple[Adaptation, ...] = ()
    features: Sequence[Tensor] | None = None


class Protocol(nn.Module, ABC):
    """A protocol, as a module: the model, an auxiliary loss, and what is asked of the model in a step.

    With `precision="bfloat16"` convolutions, linear layers and LSTMs run under autocast, the recurrences of fast weights in
    float32.
    """

    num_sets = 1
    extra_terms: tuple[str, ...] = ()
    """names of terms of the loss beside `train_loss`"""

    def __init__(self, config: TrainConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.model: EpisodeModel = build_model(config.model)
        self.auxiliary = build_auxiliary(config.auxiliary, self.model.num_features, num_classes)
        if self.auxiliary is not None:
            self.extra_terms = (*self.extra_terms, "auxiliary_loss")

    def auxiliary_modules(self) -> nn.ModuleDict:
        """What training alone has, beside the model."""
        return nn.ModuleDict({name: part for name, part in self.named_children() if part is not self.model})

    @classmethod
    @abstractmethod
    def sampler(cls, config: TrainConfig, data: Sets, generator: torch.Generator) -> Sampler[Any]:
        """The sampler of training steps; `generator` is its state."""

    @classmethod
    @abstractmethod
    def test_shape(cls, config: TrainConfig) -> EpisodeShape:
        """What a validation or test draws from each data set."""

    @classmethod
    @abstractmethod
    def evaluate(
        cls, config: TrainConfig, model: EpisodeModel, data: Sets, episodes: int, seed: int, tta_passes: int = 1
    ) -> Evaluation:
        """Accuracy over random episodes of the test shape; the same seed gives the same ones.

        `tta_passes` is how often the examples are read, their answers averaged. Raises UserError where it must be 1.
        """

    @abstractmethod
    def losses(self, features: Tensor, episodes: Any) -> Losses:
        """What is asked of the model: features (P, F) of the step's images, and the episodes over them."""

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Raise UserError where the configuration does not fit the protocol or the data, of which there are `num_sets`."""
        cls.sampler(config, data["train"], torch.Generator()).sample()
        for part in (*data["val"], *data["test"]):
            draw_episodes(torch.from_numpy(part.offsets), cls.test_shape(config), 1, torch.Generator())

    def forward(self, step: Step[Any]) -> Losses:
        """One batch: images in [0, 1], normalized here where the data is, each embedded once."""
        images = standardize(step.images, step.normalization)
        with torch.autocast(step.images.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            features = self.model.embed(images)
            loss, accuracy, terms = self.losses(features, step.episodes)
        if self.auxiliary is not None:
            terms = {**terms, "auxiliary_loss": self.auxiliary(features.float(), step.classes)}
            loss = loss + self.config.auxiliary.weight * terms["auxiliary_loss"]
        return Losses(loss, accuracy, terms)


def accuracy_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Accuracy, (), of logits (..., N) for labels (...)."""
    return (logits.argmax(-1) == labels).double().mean()
