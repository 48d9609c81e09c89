"""Encodings of the features and the label of an image as an input of the stack."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NO_LABEL = -1


class PaperInput(nn.Module):
    """The paper's input: features and a one-hot label concatenated, then projected; a missing label is class 0.

    Args:
        num_features: number of features F.
        n_way: number of classes N.
        d_model: width of the projection; None: no projection, and a width of F + N.
    """

    def __init__(self, num_features: int, n_way: int, d_model: int | None) -> None:
        super().__init__()
        self.n_way = n_way
        width = num_features + n_way
        self.project = nn.Identity() if d_model is None else nn.Linear(width, d_model)
        self.width = width if d_model is None else d_model

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Encode each step.

        Args:
            features: (B, T, F).
            labels: (B, T) int64, -1 (no label) to N - 1.

        Returns:
            (B, T, width).
        """
        one_hot = F.one_hot(labels.clamp(min=0), self.n_way).to(features.dtype)
        encoded: Tensor = self.project(torch.cat([features, one_hot], dim=-1))
        return encoded


class BalancedInput(nn.Module):
    """LayerNorm on the features, then their projection plus a learned label embedding of unit scale.

    The embedding at index N stands for a missing label.

    Args:
        num_features: number of features F.
        n_way: number of classes N.
        d_model: width of the projection.
    """

    def __init__(self, num_features: int, n_way: int, d_model: int) -> None:
        super().__init__()
        self.n_way = n_way
        self.norm = nn.LayerNorm(num_features)
        self.project = nn.Linear(num_features, d_model)
        self.label_embedding = nn.Embedding(n_way + 1, d_model)
        self.width = d_model

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Encode each step.

        Args:
            features: (B, T, F).
            labels: (B, T) int64, -1 (no label) to N - 1.

        Returns:
            (B, T, d_model).
        """
        labels = labels.masked_fill(labels == NO_LABEL, self.n_way)
        encoded: Tensor = self.project(self.norm(features)) + self.label_embedding(labels)
        return encoded


class CodedInput(nn.Module):
    """LayerNorm on the features and their projection, beside a one-hot code of the label in places of its own.

    So features and labels do not overlap, and no label is nearer to another than to a third. A missing label is zero there.

    Args:
        num_features: number of features F.
        n_way: number of classes N.
        d_model: width of both together.

    Raises:
        ValueError: there is no room for features.
    """

    def __init__(self, num_features: int, n_way: int, d_model: int) -> None:
        super().__init__()
        if d_model <= n_way:
            raise ValueError(f"stack.d_model: expected more than n_way = {n_way} with input 'codes', got {d_model}")
        self.n_way = n_way
        self.norm = nn.LayerNorm(num_features)
        self.project = nn.Linear(num_features, d_model - n_way)
        self.log_scale = nn.Parameter(torch.tensor(math.log(d_model) / 2))
        self.width = d_model

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Encode each step.

        Args:
            features: (B, T, F).
            labels: (B, T) int64, -1 (no label) to N - 1.

        Returns:
            (B, T, d_model).
        """
        codes = F.one_hot(labels.masked_fill(labels == NO_LABEL, self.n_way), self.n_way + 1)[..., : self.n_way]
        encoded = self.project(self.norm(features))
        return torch.cat([encoded, self.log_scale.exp() * codes.to(encoded.dtype)], dim=-1)
