"""The interface of a protocol: what the training loop, validation and test need to know of it."""

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
"""The data sets of a protocol, all of the same split."""


class Losses(NamedTuple):
    """The results of one batch: the loss to minimize, (); accuracy in [0, 1], (); and terms of the loss by name, unweighted.

    The term `train_loss` is the cross-entropy of the predictions.
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
    """A protocol, as a module: the model, an auxiliary loss, and the loss of a training step.

    A subclass sets the class attributes and writes `sampler`, `test_shape`, `evaluate` and `losses`.

    With `precision="bfloat16"` convolutions, linear layers and LSTMs run under autocast, the recurrences of fast weights in
    float32.
    """

    name: ClassVar[str]
    """what `TrainConfig.protocol` calls it; a class with a name of its own adds itself to `PROTOCOLS`"""
    about: ClassVar[str] = ""
    """one line for the list of protocols in `--help`"""
    Options: ClassVar[type[ProtocolOptions]] = ProtocolOptions
    """the class of `TrainConfig.protocol_options`"""
    num_sets: ClassVar[int] = 1
    """data sets that an episode is drawn from"""
    has_queries: ClassVar[bool] = True
    """whether episodes have queries after the labeled examples; without them there are no baselines, no other number of
    queries, no test-time augmentation, and tests are on the run's own data"""
    variable_episodes: ClassVar[bool] = False
    """whether numbers of classes and examples may vary: `min_ways`, `max_shots`, `validation_ways`"""
    supports_prototypes: ClassVar[bool] = True
    """whether a model without memory, a prototypical network, can be trained"""
    extra_terms: tuple[str, ...] = ()
    """names of terms of the loss beside `train_loss`"""

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
    def evaluate(cls, config: TrainConfig, model: EpisodeModel, data: Sets, evaluation: EvaluationConfig) -> Evaluation:
        """Accuracy over random episodes of the test shape; the same seed gives the same episodes.

        Args:
            config: the configuration of the run.
            model: the model, which is in evaluation mode meanwhile.
            data: `num_sets` data sets of the split to evaluate on.
            evaluation: number and seed of the episodes, and passes of test-time augmentation.
        """

    @abstractmethod
    def losses(self, features: Tensor, episodes: Any) -> Losses:
        """The loss of one batch.

        Args:
            features: (P, F), of the images of the step.
            episodes: what the sampler drew, as positions among these images.
        """

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Raise UserError where the configuration does not fit the protocol or the data, of which there are `num_sets`."""
        cls.sampler(config, data["train"], torch.Generator()).sample()
        for part in (*data["val"], *data["test"]):
            draw_episodes(torch.from_numpy(part.offsets), cls.test_shape(config), 1, torch.Generator())

    @classmethod
    def remedies(cls, config: TrainConfig) -> list[str]:
        """Options of this protocol, not used yet, that help a run whose training accuracy stays at chance."""
        return []

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


PROTOCOLS: dict[str, type[Protocol]] = {}
"""Every protocol by its name, as far as their modules are imported: `protocols.registry` imports all in this folder."""
