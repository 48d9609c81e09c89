"""The interface of few-shot models: an image stem, and a head that learns from its features."""

from abc import ABC, abstractmethod
from math import prod

import torch
from torch import Tensor, nn

from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.inputs import NO_LABEL
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.nn import State
from srwm.ops.checks import check_flags
from srwm.ranges import check_ranges
from srwm.vision import Conv4, ResNet12


class EpisodeModel(nn.Module, ABC):
    """A few-shot model: an image stem, and a head that reads labeled images one by one into its state.

    Subclasses implement the head: `_run`, `_learn` and `_query`, whose arguments have been checked.

    Args:
        config: the model.

    Raises:
        ValueError: the configuration is inconsistent.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        check_ranges(config)
        self.config = config
        self.metadata = ModelMetadata()
        self.stem, self.num_features = _stem(config)

    @abstractmethod
    def _run(
        self, features: Tensor, labels: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        """`forward_features` on checked arguments."""

    @abstractmethod
    def _learn(self, features: Tensor, labels: Tensor, state: State | None) -> State:
        """`learn_features` on checked arguments."""

    @abstractmethod
    def _query(self, features: Tensor, state: State | None) -> Tensor:
        """`query_features` on checked arguments."""

    def embed(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: (..., C, H, W); without a stem (..., *image_shape).

        Returns:
            (..., F).

        Raises:
            ValueError: images have another shape than the stem takes.
        """
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

        Args:
            images: (B, T, C, H, W).
            labels: (B, T) int64, -1 (no label) to N - 1.
            state: the state to continue from; None is a fresh one.
            resets: (B, T) bool. True: the state is fresh before this step.
            mask: (B, T) bool. False: a padded step, which neither reads nor writes the state.

        Returns:
            Logits (B, T, N), and the state after the last step.

        Raises:
            ValueError: shapes, labels or the state do not fit.
        """
        return self.forward_features(self.embed(images), labels, state, resets, mask)

    def forward_features(
        self,
        features: Tensor,
        labels: Tensor,
        state: State | None = None,
        resets: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Logits at every step of a sequence of features.

        Args:
            features: (B, T, F), as `embed` returns them.
            labels: (B, T) int64, -1 (no label) to N - 1.
            state: the state to continue from; None is a fresh one.
            resets: (B, T) bool. True: the state is fresh before this step.
            mask: (B, T) bool. False: a padded step, which neither reads nor writes the state.

        Returns:
            Logits (B, T, N), and the state after the last step.

        Raises:
            ValueError: shapes, labels or the state do not fit.
        """
        self._check_steps(features, labels)
        check_flags("resets", resets, features)
        check_flags("mask", mask, features)
        return self._run(features, labels, state, resets, mask)

    def learn_features(self, features: Tensor, labels: Tensor, state: State | None = None) -> State:
        """The state after a sequence of labeled features: that of `forward_features`, without computing logits.

        Args:
            features: (B, T, F), as `embed` returns them.
            labels: (B, T) int64, -1 (no label) to N - 1.
            state: the state to continue from; None is a fresh one.

        Returns:
            The state after the last step.

        Raises:
            ValueError: shapes, labels or the state do not fit.
        """
        self._check_steps(features, labels)
        return self._learn(features, labels, state)

    def query(self, images: Tensor, state: State | None = None) -> Tensor:
        """Logits of unlabeled images, each evaluated from the same state. The state does not change.

        Args:
            images: (B, Q, C, H, W).
            state: the state; None is a fresh one.

        Returns:
            Logits (B, Q, N).

        Raises:
            ValueError: shapes or the state do not fit.
        """
        return self.query_features(self.embed(images), state)

    def query_features(self, features: Tensor, state: State | None = None) -> Tensor:
        """Logits of unlabeled features, each evaluated from the same state. The state does not change.

        Args:
            features: (B, Q, F), as `embed` returns them.
            state: the state; None is a fresh one.

        Returns:
            Logits (B, Q, N).

        Raises:
            ValueError: shapes or the state do not fit.
        """
        self._check_features(features, "B, Q")
        return self._query(features, state)

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


def _stem(config: ModelConfig) -> tuple[Conv4 | ResNet12 | nn.Flatten, int]:
    if config.stem == "none":
        return nn.Flatten(), prod(config.image_shape)
    if len(config.image_shape) != 3 or min(config.image_shape[1:]) < 16:
        raise ValueError(f"image_shape: expected (C, H, W) with H and W of 16 or more, got {config.image_shape}")
    in_channels, height, width = config.image_shape
    stem: Conv4 | ResNet12
    if not isinstance(config.stem_channels, int) and len(config.stem_channels) != 4:
        raise ValueError(f"stem_channels: expected one number or four, got {config.stem_channels}")
    if config.stem == "conv4":
        stem = Conv4(config.stem_channels, in_channels, config.stem_dropout)
    elif config.stem == "resnet12":
        if isinstance(config.stem_channels, int):
            raise ValueError(f"stem_channels: expected four numbers for resnet12, got {config.stem_channels}")
        stem = ResNet12(config.stem_channels, in_channels, config.stem_dropout, config.stem_dropout_type)
    else:
        raise ValueError(f"stem: expected conv4, resnet12 or none, got {config.stem!r}")
    return stem, stem.num_features(height, width)
