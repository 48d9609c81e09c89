"""What the references share: padding, outputs of steps, reads of a matrix."""

import torch
from torch import Tensor


def keep_padding(updated: Tensor, before: Tensor, y: Tensor, mask: Tensor | None, t: int) -> tuple[Tensor, Tensor]:
    """The state and y after step t, which leaves the state as it was, and y zero, where the step is padding."""
    if mask is None:
        return updated, y
    real = mask[:, t, None, None]
    return torch.where(real[..., None], updated, before), y.masked_fill(~real, 0)


def stack(outputs: list[Tensor], x: Tensor, d: int) -> Tensor:
    """y (B, T, H, D) of the steps' outputs (B, H, D); x (B, T, H, E) tells the sizes where there are none."""
    if not outputs:
        return x.new_zeros(x.shape[0], 0, x.shape[2], d)
    return torch.stack(outputs, dim=1)


def read(x: Tensor, matrix: Tensor) -> Tensor:
    """x (B, Q, H, E) @ matrix (B, H, E, D) -> (B, Q, H, D)."""
    return torch.einsum("bqhe,bhed->bqhd", x, matrix)
