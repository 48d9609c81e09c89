"""Whether an image is of any class that was learned, by its distance to the nearest mean of a class."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.fewshot.models.class_means import class_sums
from srwm.fewshot.models.metadata import Rejection


@dataclass(frozen=True, eq=False)
class ClassExamples:
    """Sums of the features of each class, after a LayerNorm without weights, and the number of its examples."""

    sums: Tensor
    """(R, N, F) float32, for R passes of test-time augmentation"""
    counts: Tensor
    """(N,) float32"""

    @classmethod
    def none(cls, passes: int, features: Tensor) -> Self:
        """No examples, of no class.

        Args:
            passes: the number R of passes.
            features: (..., F), whose width and device are taken.

        Returns:
            The examples.
        """
        width, device = features.shape[-1], features.device
        zeros = torch.zeros(passes, 0, width, dtype=torch.float32, device=device)
        return cls(zeros, zeros[0, :, 0].clone())

    def after(self, features: Tensor, labels: Tensor, n_way: int) -> "ClassExamples":
        """These examples and more.

        Args:
            features: (R, T, F).
            labels: (T,) int64, below n_way.
            n_way: the number of classes, as many as before or more.

        Returns:
            The examples; these stay as they are.
        """
        sums, counts = class_sums(_normalized(features), labels.expand(len(features), -1), n_way)
        added = n_way - len(self.counts)
        return ClassExamples(F.pad(self.sums, (0, 0, 0, added)) + sums, F.pad(self.counts, (0, added)) + counts[0])


def distances(features: Tensor, examples: ClassExamples) -> Tensor:
    """Squared distances to class means, by 1 + 1 / k for a mean of k examples: so they are alike for any number of examples.

    Args:
        features: (R, Q, F) of queries.
        examples: the examples of the classes.

    Returns:
        (Q, N), means over the passes; the greatest that is possible, 4 F, to a class without examples.
    """
    counts = examples.counts.clamp(min=1)
    means = examples.sums / counts[:, None]
    squares = torch.cdist(_normalized(features), means, compute_mode="donot_use_mm_for_euclid_dist").square().mean(0)
    scaled = squares / (1 + 1 / counts)
    return scaled.masked_fill(examples.counts == 0, farthest(features))


def farthest(features: Tensor) -> float:
    """The greatest squared distance between features after LayerNorm, 4 F.

    Args:
        features: (..., F).

    Returns:
        The number.
    """
    return 4.0 * features.shape[-1]


def unknown_mass(distances: Tensor, rejection: Rejection) -> Tensor:
    """The probability that an image is of none of the classes; 1/2 at the threshold.

    Args:
        distances: (Q, N).
        rejection: the calibration.

    Returns:
        (Q,).
    """
    nearest: Tensor = distances.min(-1).values.double()
    return torch.sigmoid(rejection.slope * (nearest / rejection.threshold - 1))


def acceptance(distances: Tensor, rejection: Rejection) -> Tensor:
    """How surely each class takes an image as its own: positive within the threshold, at most 1.

    Args:
        distances: (Q, N).
        rejection: the calibration.

    Returns:
        (Q, N).
    """
    return 1 - distances.double() / rejection.threshold


def _normalized(features: Tensor) -> Tensor:
    return F.layer_norm(features.float(), features.shape[-1:])
