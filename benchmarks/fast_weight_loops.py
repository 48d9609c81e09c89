"""The delta rule and linear attention in PyTorch: a loop over steps, and the parallel form over chunks of steps.

Shapes: q, k (B, T, H, E), v (B, T, H, D), beta (B, T, H); returned are y (B, T, H, D) and the state (B, H, E, D).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

DELTA_CHUNK = 16
LINEAR_CHUNK = 32
"""Steps to a chunk: the fastest of 16, 32 and 64 for most sizes measured."""


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


def delta_rule_chunked(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """All writes of a chunk at once, by a triangular solve (the WY form of Yang et al. 2024)."""
    batch, steps, heads, e = q.shape
    queries, keys, values, rates = (_chunks(a, DELTA_CHUNK) for a in (q, k, v, beta[..., None]))
    transposed = keys.transpose(-1, -2)
    scaled = rates * keys
    system = (scaled @ transposed).tril(-1)
    targets = torch.cat([rates * values, scaled], dim=-1)
    solved = torch.linalg.solve_triangular(system, targets, upper=False, unitriangular=True)
    writes, reads = solved.split([v.shape[3], e], dim=-1)
    attention = (queries @ transposed).tril()
    state = q.new_zeros(batch * heads, e, v.shape[3])
    ys = []
    for parts in zip(*(a.unbind(1) for a in (queries, transposed, writes, reads, attention)), strict=True):
        query, key, write, read, weights = parts
        write = torch.baddbmm(write, read, state, alpha=-1)
        ys.append(torch.baddbmm(torch.bmm(weights, write), query, state))
        state = torch.baddbmm(state, key, write)
    return _unchunk(torch.stack(ys, dim=1), batch, steps), state.view(batch, heads, *state.shape[1:])


def linear_attention_chunked(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Masked products within a chunk, a cumulative sum of states between chunks."""
    batch, steps, heads, _ = q.shape
    queries, keys, values = (_chunks(a, LINEAR_CHUNK) for a in (q, k, v))
    transposed = keys.transpose(-1, -2)
    after = (transposed @ values).cumsum(dim=1)
    before = pad(after[:, :-1], (0, 0, 0, 0, 1, 0))
    y = queries @ before + (queries @ transposed).tril() @ values
    return _unchunk(y, batch, steps), after[:, -1].reshape(batch, heads, *after.shape[2:])


def _add_product(state: Tensor, column: Tensor, row: Tensor) -> Tensor:
    if torch.is_grad_enabled():
        return torch.baddbmm(state, column, row)
    return state.addcmul_(column, row)


def _rows(a: Tensor) -> Tensor:
    """(B, T, H, E) -> (T, B H, E)."""
    return a.transpose(0, 1).reshape(a.shape[1], -1, a.shape[3])


def _chunks(a: Tensor, size: int) -> Tensor:
    """(B, T, H, E) -> (B H, T / size, size, E), padded with zeros, which neither write nor are read."""
    batch, steps, heads, e = a.shape
    padded = pad(a.transpose(1, 2), (0, 0, 0, -steps % size))
    return padded.reshape(batch * heads, -1, size, e)


def _unchunk(y: Tensor, batch: int, steps: int) -> Tensor:
    return y.reshape(batch, -1, y.shape[1] * y.shape[2], y.shape[3])[:, :, :steps].transpose(1, 2)
