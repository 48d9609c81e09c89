"""The recurrences in plain PyTorch: the definition that every kernel is held against.

Any device, any floating dtype, differentiable as often as autograd allows. Inputs are expected to have passed the checks of
`srwm.ops`: matching shapes and one computing dtype.
"""

import torch
from torch import Tensor


def srwm(
    x: Tensor,
    weight: Tensor,
    shift: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Self-referential weight matrix, equations 5 to 8 of Irie et al. (2022), one step after the other.

    Shapes: x (B, T, H, E), weight (H, E, D + 2E + 4), shift (B, H, E, D + 2E + 4), resets and mask (B, T) bool.
    Returns y (B, T, H, D) and the shift after the last step.
    """
    batch, steps, heads, e = x.shape
    rows = weight.shape[2]
    d = rows - 2 * e - 4
    blocks = [d, e, e, 4]
    shift = weight.new_zeros(batch, heads, e, rows) if shift is None else shift.clone()
    if mask is not None:
        x = x.masked_fill(~mask[:, :, None, None], 0)
    outputs = []
    for t in range(steps):
        if resets is not None:
            shift = shift.masked_fill(resets[:, t, None, None, None], 0)
        matrix = weight + shift
        y, q, k, beta = torch.split((x[:, t, :, None] @ matrix).squeeze(2), blocks, dim=-1)
        key = k.softmax(-1)
        difference = q.softmax(-1) - key
        rates = beta.sigmoid().repeat_interleave(torch.tensor(blocks, device=x.device), dim=-1, output_size=rows)
        update = rates * (difference[:, :, None] @ matrix).squeeze(2)
        updated = shift + key[..., None] * update[:, :, None]
        shift, y = _keep_padding(updated, shift, y, mask, t)
        outputs.append(y)
    return _stack(outputs, x, d), shift


def fast_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Delta rule: state += beta k (v - k state), then y = q state. Without beta, linear attention: state += k v.

    Shapes: q, k (B, T, H, E), v (B, T, H, D), beta (B, T, H), state (B, H, E, D), resets and mask (B, T) bool.
    Returns y (B, T, H, D) and the state after the last step.
    """
    batch, steps, heads, e = q.shape
    d = v.shape[-1]
    state = q.new_zeros(batch, heads, e, d) if state is None else state.clone()
    if mask is not None:
        padding = ~mask[:, :, None, None]
        q, k, v = (z.masked_fill(padding, 0) for z in (q, k, v))
        beta = None if beta is None else beta.masked_fill(~mask[:, :, None], 0)
    outputs = []
    for t in range(steps):
        if resets is not None:
            state = state.masked_fill(resets[:, t, None, None, None], 0)
        write = v[:, t]
        if beta is not None:
            write = beta[:, t, :, None] * (write - (k[:, t, :, None] @ state).squeeze(2))
        updated = state + k[:, t, :, :, None] * write[:, :, None]
        y = (q[:, t, :, None] @ updated).squeeze(2)
        state, y = _keep_padding(updated, state, y, mask, t)
        outputs.append(y)
    return _stack(outputs, q, d), state


def srwm_query(x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    """Read the y columns of weight + shift: x (B, Q, H, E) -> (B, Q, H, D)."""
    e, rows = weight.shape[1:]
    d = rows - 2 * e - 4
    return _read(x, weight[..., :d] + shift[..., :d])


def delta_rule_query(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor) -> Tensor:
    """What one next step of `delta_rule` would answer, for Q independent queries: (B, Q, H, D)."""
    return _read(q, state) + ((q * k).sum(-1) * beta)[..., None] * (v - _read(k, state))


def linear_attention_query(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> Tensor:
    """What one next step of `linear_attention` would answer, for Q independent queries: (B, Q, H, D)."""
    return _read(q, state) + (q * k).sum(-1, keepdim=True) * v


def _keep_padding(updated: Tensor, before: Tensor, y: Tensor, mask: Tensor | None, t: int) -> tuple[Tensor, Tensor]:
    if mask is None:
        return updated, y
    real = mask[:, t, None, None]
    return torch.where(real[..., None], updated, before), y.masked_fill(~real, 0)


def _stack(outputs: list[Tensor], x: Tensor, d: int) -> Tensor:
    if not outputs:
        return x.new_zeros(x.shape[0], 0, x.shape[2], d)
    return torch.stack(outputs, dim=1)


def _read(x: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("bqhe,bhed->bqhd", x, matrix)
