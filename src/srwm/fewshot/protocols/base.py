"""The interface of a protocol, as the training loop, validation and test use it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from srwm.data import ImageClasses, Split
from srwm.fewshot.auxiliary import build_auxiliary
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import EpisodeShape, Sampler, Step, draw_episodes
from srwm.fewshot.evaluation.adaptation import Adaptation
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.fewshot.images import standardize
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.protocol_options import OPTIONS, ProtocolOptions

Sets: TypeAlias = Sequence[ImageClasses]
"""The data sets of a protocol, all with the same split."""


class Losses(NamedTuple):
    """The results of one batch: the loss to minimize (), the accuracy in [0, 1] (), and the unweighted terms of the loss.

    The term `train_loss` is the cross-entropy of the predictions.
    """

    loss: Tensor
    accuracy: Tensor
    terms: dict[str, Tensor]


class Evaluation(NamedTuple):
    """Accuracy over episodes. For streams also the accuracy at every step, for each order of the tasks; for other protocols
    also the features of the images for each view."""

    accuracy: Accuracy
    adaptations: tuple[Adaptation, ...] = ()
    features: Sequence[Tensor] | None = None


class Protocol(nn.Module, ABC):
    """A protocol, as a module: the model, an auxiliary loss, and the loss of a training step.

    A subclass sets the class attributes and implements `sampler`, `test_shape`, `evaluate` and `losses`.

    With `precision="bfloat16"` convolutions, linear layers and LSTMs run under autocast; fast-weight recurrences use float32.

    Args:
        config: the configuration of the run.
        num_classes: number of training classes, for an auxiliary loss.
    """

    name: ClassVar[str]
    """its name in `TrainConfig.protocol`; a class that defines a name is added to `PROTOCOLS`"""
    about: ClassVar[str] = ""
    """one-line description in `--help`"""
    Options: ClassVar[type[ProtocolOptions]] = ProtocolOptions
    """the class of `TrainConfig.protocol_options`"""
    num_sets: ClassVar[int] = 1
    """number of data sets that an episode is drawn from"""
    has_queries: ClassVar[bool] = True
    """whether episodes have queries after the labeled examples; otherwise evaluation has no baselines, no option `queries`, no
    test-time augmentation and no other data set"""
    variable_episodes: ClassVar[bool] = False
    """whether numbers of classes and examples may vary (`min_ways`, `max_shots`, `validation_ways`)"""
    supports_prototypes: ClassVar[bool] = True
    """whether a prototypical network can be trained"""
    extra_terms: tuple[str, ...] = ()
    """names of the loss terms other than `train_loss`"""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "name" in vars(cls):
            PROTOCOLS[cls.name] = cls
            OPTIONS[cls.name] = cls.Options

    def __init__(self, config: TrainConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.model: EpisodeModel = build_model(config.model)
        self.auxiliary = build_auxiliary(config.auxiliary, self.model.num_features, num_classes)
        if self.auxiliary is not None:
            self.extra_terms = (*self.extra_terms, "auxiliary_loss")

    def auxiliary_modules(self) -> nn.ModuleDict:
        """Modules that are used in training only and are not part of the model.

        Returns:
            The modules.
        """
        return nn.ModuleDict({name: part for name, part in self.named_children() if part is not self.model})

    @classmethod
    @abstractmethod
    def sampler(cls, config: TrainConfig, data: Sets, generator: torch.Generator) -> Sampler[Any]:
        """The sampler of training steps.

        Args:
            config: the configuration of the run.
            data: the training classes of `num_sets` data sets.
            generator: source of the random numbers, and the state of the sampler.

        Returns:
            The sampler.
        """

    @classmethod
    @abstractmethod
    def test_shape(cls, config: TrainConfig) -> EpisodeShape:
        """The shape of validation and test episodes, per data set.

        Args:
            config: the configuration of the run.

        Returns:
            The shape of an episode.
        """

    @classmethod
    @abstractmethod
    def evaluate(cls, config: TrainConfig, model: EpisodeModel, data: Sets, evaluation: EvaluationConfig) -> Evaluation:
        """Accuracy over random episodes of the test shape; the same seed gives the same episodes.

        Args:
            config: the configuration of the run.
            model: the model; it is in evaluation mode during the call.
            data: `num_sets` data sets of the split to evaluate on.
            evaluation: number and seed of the episodes, and passes of test-time augmentation.

        Returns:
            The evaluation.
        """

    @abstractmethod
    def losses(self, features: Tensor, episodes: Any) -> Losses:
        """The loss of one batch.

        Args:
            features: (P, F) of the images of the step.
            episodes: the sampler's episodes over these images.

        Returns:
            The loss, the accuracy and the terms of the loss.
        """

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Check that the configuration fits the protocol and the data.

        Args:
            config: the configuration of the run.
            data: `num_sets` data sets by split.

        Raises:
            UserError: it does not.
        """
        cls.sampler(config, data["train"], torch.Generator()).sample()
        for part in (*data["val"], *data["test"]):
            draw_episodes(torch.from_numpy(part.offsets), cls.test_shape(config), 1, torch.Generator())

    @classmethod
    def remedies(cls, config: TrainConfig) -> list[str]:
        """Options of this protocol that are not used yet and help a run whose training accuracy stays at chance.

        Args:
            config: the configuration of the run.

        Returns:
            One text for each option.
        """
        return []

    def forward(self, step: Step[Any]) -> Losses:
        """The loss of one batch. Images are converted to [0, 1], normalized if their data set is, and embedded once each.

        Args:
            step: the data of the batch.

        Returns:
            The loss, the accuracy and the terms of the loss.
        """
        images = standardize(step.images, step.normalization)
        with torch.autocast(step.images.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            features = self.model.embed(images)
            loss, accuracy, terms = self.losses(features, step.episodes)
        if self.auxiliary is not None:
            terms = {**terms, "auxiliary_loss": self.auxiliary(features.float(), step.classes)}
            loss = loss + self.config.auxiliary.weight * terms["auxiliary_loss"]
        return Losses(loss, accuracy, terms)


def accuracy_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Accuracy of predictions.

    Args:
        logits: (..., N).
        labels: (...) int64.

    Returns:
        The mean accuracy, ().
    """
    return (logits.argmax(-1) == labels).double().mean()


PROTOCOLS: dict[str, type[Protocol]] = {}
"""The protocols of imported modules by name; `protocols.registry` imports all modules of this folder."""
