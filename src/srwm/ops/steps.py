"""Shared code of the references: padded steps, stacking of outputs, reads of a matrix."""

import torch
from torch import Tensor


def keep_padding(updated: Tensor, before: Tensor, y: Tensor, mask: Tensor | None, t: int) -> tuple[Tensor, Tensor]:
    """The state and y after step t. At a padded step the state does not change and y is zero.

    Args:
        updated: the state after an unpadded step (B, H, E, M).
        before: the state before the step (B, H, E, M).
        y: the step's output (B, H, D).
        mask: (B, T) bool, False at padded steps; None: no step is padded.
        t: the step.

    Returns:
        The state and y.
    """
    if mask is None:
        return updated, y
    real = mask[:, t, None, None]
    return torch.where(real[..., None], updated, before), y.masked_fill(~real, 0)


def stack(outputs: list[Tensor], x: Tensor, d: int) -> Tensor:
    """Stack the outputs of the steps.

    Args:
        outputs: for each step (B, H, D).
        x: the inputs (B, T, H, E), which give the sizes where there is no step.
        d: the width D.

    Returns:
        y (B, T, H, D).
    """
    if not outputs:
        return x.new_zeros(x.shape[0], 0, x.shape[2], d)
    return torch.stack(outputs, dim=1)


def read(x: Tensor, matrix: Tensor) -> Tensor:
    """Read a matrix with Q vectors per head.

    Args:
        x: (B, Q, H, E).
        matrix: (B, H, E, D).

    Returns:
        x @ matrix for each head, (B, Q, H, D).
    """
    return torch.einsum("bqhe,bhed->bqhd", x, matrix)
