"""Prototypical networks: a class is the mean of the features of its examples (Snell et al., 2017)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.inputs import NO_LABEL
from srwm.nn import State
from srwm.nn.checks import check_state
from srwm.ops.dispatch import without_autocast


class PrototypicalNetwork(EpisodeModel):
    """Logits are the negative squared Euclidean distances of an image's features to the class means.

    Only the stem has weights; `input` and `stack` of the configuration are not used. The state is the sum of the features of
    each class (B, N, F) and the number of its examples (B, N), float32. So the model learns one example at a time, as every
    other model does, and classifies an image before it learns it. A class without examples has probability 0, unless no class
    has an example.

    Args:
        config: the model.

    Raises:
        ValueError: the configuration is inconsistent.
    """

    def _run(
        self, features: Tensor, labels: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        real = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask
        features = _at_least_float32(features).masked_fill(~real[..., None], 0)
        one_hot = _one_hot(labels, self.config.n_way).to(features) * real[..., None]
        sums, counts = self._begin(features, state)
        logits = []
        for t in range(features.shape[1]):
            if resets is not None:
                sums = sums.masked_fill(resets[:, t, None, None], 0)
                counts = counts.masked_fill(resets[:, t, None], 0)
            logits.append(prototype_logits(features[:, t : t + 1], sums, counts) * real[:, t, None, None])
            sums = sums + one_hot[:, t, :, None] * features[:, t, None]
            counts = counts + one_hot[:, t]
        return torch.cat([features.new_zeros(len(features), 0, self.config.n_way), *logits], dim=1), (sums, counts)

    def _learn(self, features: Tensor, labels: Tensor, state: State | None) -> State:
        sums, counts = class_sums(_at_least_float32(features), labels, self.config.n_way)
        if state is None:
            return sums, counts
        known, known_counts = self._begin(features, state)
        return known + sums, known_counts + counts

    def _query(self, features: Tensor, state: State | None) -> Tensor:
        features = _at_least_float32(features)
        return prototype_logits(features, *self._begin(features, state))

    def _begin(self, features: Tensor, state: State | None) -> tuple[Tensor, Tensor]:
        """The state as it was given, or a fresh one for None."""
        batch, n_way, width = len(features), self.config.n_way, self.num_features
        if state is None:
            return features.new_zeros(batch, n_way, width), features.new_zeros(batch, n_way)
        check_state(state, (torch.Size([n_way, width]), torch.Size([n_way])), batch)
        sums, counts = state
        return sums, counts


def class_sums(features: Tensor, labels: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
    """Sums of the features of each class, and the number of its examples, in the features' dtype even under autocast.

    Args:
        features: (B, T, F).
        labels: (B, T) int64, -1 (no label) to N - 1.
        n_way: the number of classes N.

    Returns:
        Sums (B, N, F) and counts (B, N).
    """
    one_hot = _one_hot(labels, n_way).to(features.dtype)
    with without_autocast(features):
        return one_hot.mT @ features, one_hot.sum(1)


def prototype_logits(features: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """Negative squared distances to class means; those to a class without an example are the lowest finite number.

    Args:
        features: (B, Q, F).
        sums: (B, N, F), of the features of each class.
        counts: (B, N), of its examples.

    Returns:
        (B, Q, N).
    """
    means = sums / counts.clamp(min=1)[..., None]
    logits = -(features[:, :, None] - means[:, None]).square().sum(-1)
    return logits.masked_fill((counts == 0)[:, None], torch.finfo(logits.dtype).min)


def _one_hot(labels: Tensor, n_way: int) -> Tensor:
    """Labels (B, T) -> (B, T, N), zero where there is none."""
    return F.one_hot(labels.clamp(min=0), n_way) * (labels != NO_LABEL)[..., None]


def _at_least_float32(features: Tensor) -> Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))
