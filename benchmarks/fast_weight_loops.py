"""The delta rule and linear attention in PyTorch: a loop over steps.

Shapes: q, k (B, T, H, E), v (B, T, H, D), beta (B, T, H); returned are y (B, T, H, D) and the state (B, H, E, D).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def delta_rule_loop(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """One product a step reads y and the next write together: [q_t; -β k_{t+1}] S_t + [0; β v_{t+1}]."""
    batch, steps, heads, _ = q.shape
    rate = beta[..., None]
    queries = torch.stack([_rows(q), pad(_rows(k * -rate)[1:], (0, 0, 0, 0, 0, 1))], dim=2).unbind()  # (N, 2, E) each
    values = _rows(v * rate)
    offsets = torch.stack([torch.zeros_like(values), pad(values[1:], (0, 0, 0, 0, 0, 1))], dim=2).unbind()
    keys = _rows(k)[..., None].unbind()
    state = q.new_zeros(batch * heads, q.shape[3], v.shape[3])
    write = values[0, :, None]
    ys = []
    for query, offset, key in zip(queries, offsets, keys, strict=True):
        state = _add_product(state, key, write)
        y, write = torch.baddbmm(offset, query, state).split(1, dim=1)
        ys.append(y)
    return torch.stack(ys).view(steps, batch, heads, -1).transpose(0, 1), state.view(batch, heads, *state.shape[1:])


def linear_attention_loop(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    batch, steps, heads, _ = q.shape
    state = q.new_zeros(batch * heads, q.shape[3], v.shape[3])
    ys = []
    for query, key, value in zip(
        _rows(q)[:, :, None].unbind(), _rows(k)[..., None].unbind(), _rows(v)[:, :, None].unbind(), strict=True
    ):
        state = _add_product(state, key, value)
        ys.append(torch.bmm(query, state))
    return torch.stack(ys).view(steps, batch, heads, -1).transpose(0, 1), state.view(batch, heads, *state.shape[1:])


def _add_product(state: Tensor, column: Tensor, row: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return torch.baddbmm(state, column, row)
    return state.addcmul_(column, row)


def _rows(a: Tensor) -> Tensor:
    """(B, T, H, E) -> (T, B H, E)."""
    return a.transpose(0, 1).reshape(a.shape[1], -1, a.shape[3])
