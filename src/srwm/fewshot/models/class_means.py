"""The class-mean head: sums and counts of the examples of each class, and logits by the distance to their means."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.fewshot.models.inputs import NO_LABEL
from srwm.ops.dispatch import without_autocast

_FIRST_SCALE = 5.0
"""The scale before training: that of `NeighborLoss`, whose logits are cosines by 0.1."""
_SCALE_RATE = 20
"""How much faster than the map the logarithm of the scale moves: an optimizer's steps are of one size for all weights."""


class ClassMeans(nn.Module):
    """Logits by the distance to class means after LayerNorm and a learned linear map, which begins as the identity.

    The code of an image is A LayerNorm(f), where LayerNorm has no weights. A logit is -s |code - mean|² / F, and the scale s
    is trained.

    Args:
        num_features: number of features F.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.map = nn.Linear(num_features, num_features, bias=False)
        self.log_scale = nn.Parameter(torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Make the map the identity, and the scale what it is before training."""
        nn.init.eye_(self.map.weight)
        nn.init.zeros_(self.log_scale)

    def encode(self, features: Tensor) -> Tensor:
        """The codes that are averaged, float32 or more precise, also under autocast.

        Args:
            features: (..., F).

        Returns:
            (..., F).
        """
        features = at_least_float32(features)
        with without_autocast(features):
            codes: Tensor = self.map(F.layer_norm(features, features.shape[-1:]).to(self.map.weight.dtype))
        return codes

    def logits(self, codes: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
        """Logits of codes; those of a class without an example are the lowest finite number.

        Args:
            codes: (B, Q, F), as `encode` returns them.
            sums: (B, N, F), of the codes of each class.
            counts: (B, N), of its examples.

        Returns:
            (B, Q, N).
        """
        return prototype_logits(codes, sums, counts, _FIRST_SCALE * (_SCALE_RATE * self.log_scale).exp() / codes.shape[-1])


class PlainMeans:
    """Logits -|f - mean|² by the class means of features as they are (Snell et al., 2017); nothing is trained."""

    def encode(self, features: Tensor) -> Tensor:
        """The features, float32 or more precise.

        Args:
            features: (..., F).

        Returns:
            (..., F).
        """
        return at_least_float32(features)

    def logits(self, codes: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
        """Logits of features, as `ClassMeans.logits`.

        Args:
            codes: (B, Q, F).
            sums: (B, N, F), of the features of each class.
            counts: (B, N), of its examples.

        Returns:
            (B, Q, N).
        """
        return prototype_logits(codes, sums, counts)


def class_sums(features: Tensor, labels: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
    """Sums of the features of each class, and the number of its examples, in the features' dtype even under autocast.

    Args:
        features: (B, T, F).
        labels: (B, T) int64, -1 (no label) to N - 1.
        n_way: the number of classes N.

    Returns:
        Sums (B, N, F) and counts (B, N).
    """
    hot = one_hot(labels, n_way).to(features.dtype)
    with without_autocast(features):
        return hot.mT @ features, hot.sum(1)


def prototype_logits(features: Tensor, sums: Tensor, counts: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Negative squared distances to class means; those to a class without an example are the lowest finite number.

    Args:
        features: (B, Q, F).
        sums: (B, N, F), of the features of each class.
        counts: (B, N), of its examples.
        scale: a factor of the distances.

    Returns:
        (B, Q, N).
    """
    means = sums / counts.clamp(min=1)[..., None]
    logits = -scale * (features[:, :, None] - means[:, None]).square().sum(-1)
    return logits.masked_fill((counts == 0)[:, None], torch.finfo(logits.dtype).min)


def one_hot(labels: Tensor, n_way: int) -> Tensor:
    """Labels as one-hot vectors.

    Args:
        labels: (B, T) int64, -1 (no label) to N - 1.
        n_way: the number of classes N.

    Returns:
        (B, T, N) int64, zero where there is no label.
    """
    return F.one_hot(labels.clamp(min=0), n_way) * (labels != NO_LABEL)[..., None]


def at_least_float32(features: Tensor) -> Tensor:
    """Features in float32, or as they are where they are more precise.

    Args:
        features: of any shape.

    Returns:
        The features.
    """
    return features.to(torch.promote_types(features.dtype, torch.float32))
