"""The few-shot learner: image stem, input, stack of memory blocks, classifier."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from srwm.fewshot.models.inputs import NO_LABEL, BalancedInput, PaperInput
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.nn import Stack, StackConfig, State
from srwm.vision import Conv4, DropoutType, ResNet12


@dataclass(frozen=True)
class ModelConfig:
    """A few-shot learner."""

    image_shape: tuple[int, ...] = (1, 28, 28)
    """Shape of one image, (C, H, W); any shape where there is no stem."""

    n_way: int = 5
    """Number of classes in an episode."""

    stem: Literal["conv4", "resnet12", "none"] = "conv4"
    """What embeds an image; `none` takes its numbers as they are."""

    stem_channels: int | tuple[int, int, int, int] = 64
    """Channels of Conv-4, or of the four blocks of ResNet-12."""

    stem_dropout: float = 0.0
    """Dropout in the stem."""

    stem_dropout_type: DropoutType = "base"
    """Where and what ResNet-12 drops."""

    input: Literal["paper", "balanced"] = "balanced"
    """Features and one-hot label concatenated, as in the paper, or normalized features plus a label embedding."""

    input_projection: bool = True
    """Whether the paper's input is projected to d_model; the paper's LSTM reads it as it is."""

    stack: StackConfig = field(default_factory=StackConfig)
    """The memory."""

    head: Literal["memory", "prototypes"] = "memory"
    """What learns from the examples: input and stack, or the class means of a prototypical network, which has neither."""


class EpisodeModel(nn.Module, ABC):
    """A stem, and what learns labeled images one after the other from its features; the state is what was learned so far.

    Raises ValueError for a configuration that does not fit.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.metadata = ModelMetadata()
        self.stem, self.num_features = _stem(config)

    @abstractmethod
    def forward_features(
        self,
        features: Tensor,
        labels: Tensor,
        state: State | None = None,
        resets: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """`forward` from features (B, T, F) that `embed` gave."""

    @abstractmethod
    def query_features(self, features: Tensor, state: State | None = None) -> Tensor:
        """`query` from features (B, Q, F) that `embed` gave."""

    @abstractmethod
    def learn_features(self, features: Tensor, labels: Tensor, state: State | None = None) -> State:
        """The state that `forward_features` leaves, for those who do not want the logits on the way."""

    def embed(self, images: Tensor) -> Tensor:
        """Features of images: (..., C, H, W) -> (..., F). Raises ValueError for images of another shape than the stem's."""
        axes = len(self.config.image_shape)
        image_shape = images.shape[-axes:]
        if images.dim() < axes or not self._fits(image_shape):
            expected = ", ".join(map(str, self.config.image_shape))
            raise ValueError(f"images: expected (..., {expected}), got {tuple(images.shape)}")
        leading = images.shape[:-axes]
        features: Tensor = self.stem(images.reshape(prod(leading), *image_shape))
        return features.view(*leading, self.num_features)

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        state: State | None = None,
        resets: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Logits at every step of a sequence.

        Shapes: images (B, T, C, H, W), labels (B, T) in -1 (no label) .. N - 1; state, resets and mask as in `srwm.nn.Layer`.
        Returns logits (B, T, N) and the state after the last step. Raises ValueError for shapes or labels that do not fit.
        """
        return self.forward_features(self.embed(images), labels, state, resets, mask)

    def query(self, images: Tensor, state: State | None = None) -> Tensor:
        """Logits (B, Q, N) of Q unlabeled images (B, Q, C, H, W), each asked of the same state, which stays as it is."""
        return self.query_features(self.embed(images), state)

    def _check_features(self, features: Tensor, axes: str = "B, T") -> None:
        if features.dim() != 3 or features.shape[2] != self.num_features:
            raise ValueError(f"features: expected ({axes}, {self.num_features}), got {tuple(features.shape)}")

    def _check_steps(self, features: Tensor, labels: Tensor) -> None:
        self._check_features(features)
        if labels.shape != features.shape[:2] or labels.dtype != torch.long:
            raise ValueError(
                f"labels: expected int64 (B, T) = {tuple(features.shape[:2])}, got {labels.dtype} {tuple(labels.shape)}"
            )
        if not torch.compiler.is_compiling() and ((labels < NO_LABEL) | (labels >= self.config.n_way)).any():
            low, high = int(labels.min()), int(labels.max())
            raise ValueError(f"labels: expected -1 (no label) to {self.config.n_way - 1}, got {low} to {high}")

    def _fits(self, image_shape: tuple[int, ...]) -> bool:
        if isinstance(self.stem, nn.Flatten):
            return image_shape == self.config.image_shape
        channels, height, width = image_shape
        same_features = self.stem.num_features(height, width) == self.num_features
        return channels == self.config.image_shape[0] and min(height, width) >= 16 and same_features


class FewShotModel(EpisodeModel):
    """Reads labeled images one after the other and predicts the label of each from its input and what it has read before.

    The stack's state is what it has learned from an episode so far. Raises ValueError for a configuration that does not fit.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.input = _input(config, self.num_features)
        self.stack = Stack(replace(config.stack, d_input=self.input.width))
        self.out_layer = nn.Linear(config.stack.d_model, config.n_way)

    def encode(self, features: Tensor, labels: Tensor) -> Tensor:
        """Inputs of the stack: features (B, T, F), labels (B, T) in -1 (no label) .. N - 1 -> (B, T, d_model)."""
        self._check_steps(features, labels)
        encoded: Tensor = self.input(features.to(self.out_layer.weight.dtype), labels)
        return encoded

    def forward_features(
        self,
        features: Tensor,
        labels: Tensor,
        state: State | None = None,
        resets: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """`forward` from features (B, T, F) that `embed` gave."""
        y, state = self.stack(self.encode(features, labels), state, resets, mask)
        return self.out_layer(y), state

    def learn_features(self, features: Tensor, labels: Tensor, state: State | None = None) -> State:
        """The state that `forward_features` leaves."""
        return self.stack(self.encode(features, labels), state)[1]

    def query_features(self, features: Tensor, state: State | None = None) -> Tensor:
        """`query` from features (B, Q, F) that `embed` gave."""
        labels = torch.full(features.shape[:2], NO_LABEL, dtype=torch.long, device=features.device)
        logits: Tensor = self.out_layer(self.stack.query(self.encode(features, labels), state))
        return logits


def _stem(config: ModelConfig) -> tuple[Conv4 | ResNet12 | nn.Flatten, int]:
    if config.stem == "none":
        return nn.Flatten(), prod(config.image_shape)
    if len(config.image_shape) != 3 or min(config.image_shape[1:]) < 16:
        raise ValueError(f"image_shape: expected (C, H, W) with H and W of 16 or more, got {config.image_shape}")
    channels = (config.stem_channels,) if isinstance(config.stem_channels, int) else config.stem_channels
    if min(channels) < 1:
        raise ValueError(f"stem_channels: expected 1 or more, got {config.stem_channels}")
    in_channels, height, width = config.image_shape
    stem: Conv4 | ResNet12
    if config.stem == "conv4":
        if not isinstance(config.stem_channels, int):
            raise ValueError(f"stem_channels: expected one number for conv4, got {config.stem_channels}")
        stem = Conv4(config.stem_channels, in_channels, config.stem_dropout)
    elif config.stem == "resnet12":
        if isinstance(config.stem_channels, int):
            raise ValueError(f"stem_channels: expected four numbers for resnet12, got {config.stem_channels}")
        stem = ResNet12(config.stem_channels, in_channels, config.stem_dropout, config.stem_dropout_type)
    else:
        raise ValueError(f"stem: expected conv4, resnet12 or none, got {config.stem!r}")
    return stem, stem.num_features(height, width)


def _input(config: ModelConfig, num_features: int) -> PaperInput | BalancedInput:
    if config.input == "paper":
        return PaperInput(num_features, config.n_way, config.stack.d_model if config.input_projection else None)
    if config.input != "balanced":
        raise ValueError(f"input: expected paper or balanced, got {config.input!r}")
    if not config.input_projection:
        raise ValueError("input_projection: expected True with the balanced input, got False")
    return BalancedInput(num_features, config.n_way, config.stack.d_model)
