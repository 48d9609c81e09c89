"""Prototypical networks: a class is the mean of the features of its examples (Snell et al., 2017)."""

import torch
from torch import Tensor

from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.class_means import ClassMeans, PlainMeans, class_sums, one_hot
from srwm.fewshot.models.config import ModelConfig
from srwm.nn import State
from srwm.nn.checks import check_state


class PrototypicalNetwork(EpisodeModel):
    """Logits are the negative squared Euclidean distances of an image's features to the class means.

    The features are those of the stem as they are, or with `class_means="learned"` codes of them (`ClassMeans`). `input` and
    `stack` of the configuration are not used. The state is the sum of the features of each class (B, N, F) and the number of
    its examples (B, N), float32. So the model learns one example at a time, as every
    other model does, and classifies an image before it learns it. A class without examples has probability 0, unless no class
    has an example.

    Args:
        config: the model.

    Raises:
        ValueError: the configuration is inconsistent.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.class_means = ClassMeans(self.num_features) if config.class_means == "learned" else PlainMeans()

    def _run(
        self, features: Tensor, labels: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        real = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask
        features = self.class_means.encode(features).masked_fill(~real[..., None], 0)
        hot = one_hot(labels, self.config.n_way).to(features) * real[..., None]
        sums, counts = self._begin(features, state)
        logits = []
        for t in range(features.shape[1]):
            if resets is not None:
                sums = sums.masked_fill(resets[:, t, None, None], 0)
                counts = counts.masked_fill(resets[:, t, None], 0)
            logits.append(self.class_means.logits(features[:, t : t + 1], sums, counts) * real[:, t, None, None])
            sums = sums + hot[:, t, :, None] * features[:, t, None]
            counts = counts + hot[:, t]
        return torch.cat([features.new_zeros(len(features), 0, self.config.n_way), *logits], dim=1), (sums, counts)

    def _learn(self, features: Tensor, labels: Tensor, state: State | None) -> State:
        sums, counts = class_sums(self.class_means.encode(features), labels, self.config.n_way)
        if state is None:
            return sums, counts
        known, known_counts = self._begin(features, state)
        return known + sums, known_counts + counts

    def _query(self, features: Tensor, state: State | None) -> Tensor:
        features = self.class_means.encode(features)
        return self.class_means.logits(features, *self._begin(features, state))

    def _begin(self, features: Tensor, state: State | None) -> tuple[Tensor, Tensor]:
        """The state as it was given, or a fresh one for None."""
        batch, n_way, width = len(features), self.config.n_way, self.num_features
        if state is None:
            return features.new_zeros(batch, n_way, width), features.new_zeros(batch, n_way)
        check_state(state, (torch.Size([n_way, width]), torch.Size([n_way])), batch)
        sums, counts = state
        return sums, counts
