"""Delayed labels: a stream of images, in which the label of an image is given with the next image."""

from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.data import ImageClasses
from srwm.fewshot.build import build_sampler
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import Episodes, EpisodeShape, Sampler, Step, draw_episodes
from srwm.fewshot.evaluation.adaptation import measure
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.evaluation.evaluate import Accuracy, embed_all
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.inputs import NO_LABEL
from srwm.fewshot.models.sequence import FewShotModel
from srwm.fewshot.protocol_options import ProtocolOptions
from srwm.fewshot.protocols.base import Evaluation, Losses, Protocol, Sets, accuracy_of
from srwm.ranges import HalfOpen
from srwm.training.modes import evaluation_mode

_STREAMS_AT_ONCE = 128


@dataclass(frozen=True)
class DelayedConfig(ProtocolOptions):
    """Streams whose labels are delayed by one step."""

    FORMER_FIELDS: ClassVar[tuple[str, ...]] = ("streams", "delayed")

    hint: Annotated[float, HalfOpen(0, 1)] = 0.0
    """fraction of training streams in which each label comes with the features of its image, so that training leaves chance
    earlier (0.5: within minutes)"""


class Streams(NamedTuple):
    """B streams of at most T steps: positions among the images and labels, int64 (B, T).

    mask is bool (B, T), False after a stream's end, or None where all streams have T steps.
    """

    images: Tensor
    labels: Tensor
    mask: Tensor | None


class StreamSampler:
    """The examples of random episodes as streams.

    Args:
        episodes: the sampler of the episodes.
    """

    def __init__(self, episodes: Sampler[Episodes]) -> None:
        self.episodes, self.generator = episodes, episodes.generator

    def sample(self) -> Step[Streams]:
        """The next step.

        Returns:
            Its images, and its episodes as positions among them.
        """
        step = self.episodes.sample()
        streams = Streams(step.episodes.support, step.episodes.support_labels, None)
        return Step(step.images, step.classes, streams, step.normalization)


class Delayed(Protocol):
    """At each step the model gets an image and the label of the previous image, and predicts the image's label.

    The loss is the cross-entropy. The model must associate a label with the image of the previous step, which takes long to
    learn. With `hint`, some training streams give the features of that image together with its label (LayerNorm, then a
    separate linear layer, added to the input). There both are in one input, and the other streams train the model to do
    without hints.

    Args:
        config: the configuration of the run.
        num_classes: number of training classes, for an auxiliary loss.
    """

    name = "delayed"
    about = "a stream of images; the label of an image is given one step later, with the next image"
    Options = DelayedConfig
    has_queries = False
    supports_prototypes = False
    model: FewShotModel

    def __init__(self, config: TrainConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self.hint: nn.Linear | None = None
        if config.options(DelayedConfig).hint:
            self.hint = nn.Linear(self.model.num_features, self.model.input.width, bias=False)

    @classmethod
    def test_shape(cls, config: TrainConfig) -> EpisodeShape:
        """Whole streams: `k_shot` examples of each class in random order.

        Args:
            config: the configuration of the run.

        Returns:
            The shape of an episode.
        """
        return EpisodeShape(config.model.n_way, config.k_shot, queries=0)

    @classmethod
    def sampler(cls, config: TrainConfig, data: Sets, generator: torch.Generator) -> Sampler[Streams]:
        """The sampler of training streams.

        Args:
            config: the configuration of the run.
            data: the training classes of one data set.
            generator: source of the random numbers, and the state of the sampler.

        Returns:
            The sampler.
        """
        return StreamSampler(build_sampler(config, cls.test_shape(config), data[0], generator))

    @classmethod
    @torch.inference_mode()
    def evaluate(cls, config: TrainConfig, model: EpisodeModel, data: Sets, evaluation: EvaluationConfig) -> Evaluation:
        """Accuracy over all steps of whole streams, through the data sets in every order, with the same images.

        Args:
            config: the configuration of the run.
            model: the model; it is in evaluation mode during the call.
            data: `num_sets` data sets of the split to evaluate on.
            evaluation: number and seed of the streams.

        Returns:
            The accuracy, in total and at every step.
        """
        episodes, seed = evaluation.episodes, evaluation.seed
        with evaluation_mode(model):
            shape = cls.test_shape(config)
            segments = [_draw(shape, model, part, episodes, seed + number) for number, part in enumerate(data)]
            means, adaptations = [], []
            for order in permutations(range(len(data))):
                labels = torch.cat([segments[i].labels for i in order], dim=1)
                correct = _follow(model, [segments[i] for i in order], labels)
                means.append(correct.double().mean(1))
                adaptations.append(measure(correct, labels, [data[i].name for i in order]))
        return Evaluation(Accuracy.of(torch.stack(means).mean(0)), tuple(adaptations))

    @classmethod
    def remedies(cls, config: TrainConfig) -> list[str]:
        """Hints, where there are none yet.

        Args:
            config: the configuration of the run.

        Returns:
            One text for each option.
        """
        return [] if config.options(DelayedConfig).hint else ["--protocol-options.hint 0.5"]

    def losses(self, features: Tensor, episodes: Streams) -> Losses:
        """Cross-entropy over all steps of the streams; the accuracy is over streams without hints.

        Args:
            features: (P, F) of the images of the step.
            episodes: the streams over these images.

        Returns:
            The loss, the accuracy and the terms of the loss.
        """
        images, labels, mask = episodes
        shown = F.embedding(images, features)
        hinted = min(round(self.config.options(DelayedConfig).hint * len(images)), len(images) - 1)
        parts = [stream_logits(self.model, shown[hinted:], labels[hinted:], None if mask is None else mask[hinted:])]
        if hinted:
            parts.insert(0, self._logits_with_hints(shown[:hinted], labels[:hinted], None if mask is None else mask[:hinted]))
        logits, counted = torch.cat(parts).float(), torch.ones_like(labels, dtype=torch.bool) if mask is None else mask
        loss = F.cross_entropy(logits[counted], labels[counted])
        alone = counted[hinted:]
        return Losses(loss, accuracy_of(logits[hinted:][alone], labels[hinted:][alone]), {"train_loss": loss})

    def _logits_with_hints(self, features: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        assert self.hint is not None
        before = F.pad(F.layer_norm(features[:, :-1], features.shape[2:]), (0, 0, 1, 0))
        y, _ = self.model.stack(self.model.encode(features, labels_before(labels)) + self.hint(before), mask=mask)
        logits: Tensor = self.model.out_layer(y)
        return logits


def stream_logits(model: EpisodeModel, features: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
    """Logits at every step of streams, from the features of the step and the label of the previous step.

    Args:
        model: the model.
        features: (B, T, F).
        labels: (B, T) int64.
        mask: (B, T) bool, False after the end of a stream; None: all have T steps.

    Returns:
        (B, T, N).
    """
    logits, _ = model.forward_features(features, labels_before(labels), mask=mask)
    return logits


def labels_before(labels: Tensor) -> Tensor:
    """Shift labels (B, T) by one step; the first step has no label (-1).

    Args:
        labels: (B, T).

    Returns:
        (B, T).
    """
    return F.pad(labels[:, :-1], (1, 0), value=NO_LABEL)


class _Segment(NamedTuple):
    """One task of some streams: features (P, F) of the images that occur, their positions (n, T), and labels (n, T)."""

    features: Tensor
    images: Tensor
    labels: Tensor


def _draw(shape: EpisodeShape, model: EpisodeModel, data: ImageClasses, streams: int, seed: int) -> _Segment:
    drawn = draw_episodes(torch.from_numpy(data.offsets), shape, streams, torch.Generator().manual_seed(seed))
    used, images = torch.unique(drawn.support, return_inverse=True)
    return _Segment(embed_all(model, data, used), images, drawn.support_labels)


def _follow(model: EpisodeModel, segments: list[_Segment], labels: Tensor) -> Tensor:
    """Whether each prediction is correct, bool (n, T), on the CPU."""
    correct = []
    for start in range(0, len(labels), _STREAMS_AT_ONCE):
        part = slice(start, start + _STREAMS_AT_ONCE)
        features = torch.cat([segment.features[segment.images[part]] for segment in segments], dim=1)
        predictions = stream_logits(model, features, labels[part].to(features.device)).argmax(-1)
        correct.append(predictions.cpu() == labels[part])
    return torch.cat(correct)
