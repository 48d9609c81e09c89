"""The recurrence in plain PyTorch: the definition that every kernel is held against.

Any device, any floating dtype, differentiable as often as autograd allows. Inputs are expected to have passed the checks of
`srwm.ops`: matching shapes and one computing dtype.
"""

import torch
from torch import Tensor

from srwm.ops.steps import keep_padding, read, stack


def srwm(
    x: Tensor,
    weight: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The self-referential weight matrix, equations 5 to 8 of Irie et al. (2022), as a loop over the steps.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        state: initial state, the shift W - W_0 (B, H, E, D + 2E + 4); None is zeros.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.

    Returns:
        y (B, T, H, D) and the shift after the last step.
    """
    batch, steps, heads, e = x.shape
    rows = weight.shape[2]
    d = rows - 2 * e - 4
    blocks = [d, e, e, 4]
    shift = weight.new_zeros(batch, heads, e, rows) if state is None else state.clone()
    if mask is not None:
        x = x.masked_fill(~mask[:, :, None, None], 0)
    columns = torch.arange(rows, dtype=torch.int64, device=x.device)
    rate_of_column = (columns >= d).long() + (columns >= d + e).long() + (columns >= d + 2 * e).long()
    outputs = []
    for t in range(steps):
        if resets is not None:
            shift = shift.masked_fill(resets[:, t, None, None, None], 0)
        matrix = weight + shift
        y, q, k, beta = torch.split((x[:, t, :, None] @ matrix).squeeze(2), blocks, dim=-1)
        key = k.softmax(-1)
        difference = q.softmax(-1) - key
        rates = beta.sigmoid().index_select(-1, rate_of_column)
        update = rates * (difference[:, :, None] @ matrix).squeeze(2)
        updated = shift + key[..., None] * update[:, :, None]
        shift, y = keep_padding(updated, shift, y, mask, t)
        outputs.append(y)
    return stack(outputs, x, d), shift


def srwm_query(x: Tensor, weight: Tensor, state: Tensor) -> Tensor:
    """Outputs of weight + state for Q independent queries.

    Args:
        x: queries (B, Q, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        state: the shift W - W_0 (B, H, E, D + 2E + 4).

    Returns:
        y (B, Q, H, D).
    """
    e, rows = weight.shape[1:]
    d = rows - 2 * e - 4
    return read(x, weight[..., :d] + state[..., :d])
