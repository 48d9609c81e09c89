"""Auxiliary losses on the features of a step's images, which train the stem faster than episodes alone."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.ranges import Above, AtLeast
from srwm.training.modes import float32_defaults


@dataclass(frozen=True)
class AuxiliaryConfig:
    """A second loss, on the features of the stem."""

    RENAMED_VALUES: ClassVar = {"kind": {"neighbours": "neighbors"}}

    kind: Literal["none", "neighbors", "classes"] = "none"
    """none; neighbors: soft nearest-neighbor loss among a step's images; classes: classification among all training classes"""
    weight: Annotated[float, AtLeast(0)] = 1.0
    """weight of this loss; the loss of the episodes has weight 1"""
    temperature: Annotated[float, Above(0)] = 0.1
    """temperature of the softmax over cosines in the neighbors loss"""


class NeighborLoss(nn.Module):
    """Soft nearest-neighbor loss on cosines (Goldberger et al., 2004; Frosst et al., 2019), in nats.

    Image i picks another image j with probability softmax_j(cos(f_i, f_j) / temperature); the loss is the mean of -log of the
    probability that j is of i's class. Features are first normalized by a LayerNorm without weights. Images that are the only
    one of their class do not count; if there are no others, the loss is 0.

    Args:
        temperature: temperature of the softmax.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            features: (P, F).
            classes: (P,) int64.

        Returns:
            The loss, ().
        """
        unit = F.normalize(F.layer_norm(features, features.shape[1:]), dim=1)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        logits = (unit @ unit.T / self.temperature).masked_fill(itself, -torch.inf)
        same = (classes[:, None] == classes) & ~itself
        counted = same.any(1)
        if not counted.any():
            return features.sum() * 0
        logits, same = logits[counted], same[counted]
        return (logits.logsumexp(1) - logits.masked_fill(~same, -torch.inf).logsumexp(1)).mean()


class ClassLoss(nn.Module):
    """Cross-entropy of a linear classifier among all training classes, in nats.

    Args:
        num_features: number of features F.
        num_classes: number of training classes.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(num_features)
        self.classify = nn.Linear(num_features, num_classes)

    def forward(self, features: Tensor, classes: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            features: (P, F).
            classes: (P,) int64.

        Returns:
            The loss, ().
        """
        return F.cross_entropy(self.classify(self.norm(features)), classes)


def build_auxiliary(config: AuxiliaryConfig, num_features: int, num_classes: int) -> NeighborLoss | ClassLoss | None:
    """Build the auxiliary loss of a configuration.

    Args:
        config: the configuration.
        num_features: number of features F.
        num_classes: number of training classes.

    Returns:
        The loss, or None.

    Raises:
        ValueError: the kind of loss is unknown.
    """
    match config.kind:
        case "none":
            return None
        case "neighbors":
            return NeighborLoss(config.temperature)
        case "classes":
            with float32_defaults():
                return ClassLoss(num_features, num_classes)
    raise ValueError(f"auxiliary.kind: expected none, neighbors or classes, got {config.kind!r}")
