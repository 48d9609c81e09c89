"""Fast weights in plain PyTorch, a chunk of steps at once: the path wherever no kernel runs.

Within a chunk all writes are found by one triangular solve (the WY form of Yang et al. 2024); between chunks only the state is
carried. Equal to the reference but for rounding, on any device, in any floating dtype, differentiable as often as autograd
allows.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

DELTA_CHUNK = 16
LINEAR_CHUNK = 32
"""Steps to a chunk with and without beta: the fastest of 16, 32 and 64 for most sizes measured."""


def fast_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Delta rule or, without beta, linear attention; the arguments and results of `reference.fast_weights`.

    Args:
        q: queries (B, T, H, E).
        k: keys (B, T, H, E).
        v: values (B, T, H, D).
        beta: learning rates (B, T, H); None: linear attention.
        decay: factors of the state (B, T, H); None: the state is kept.
        state: initial state (B, H, E, D); None is zeros.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.

    Returns:
        y (B, T, H, D) and the state after the last step.
    """
    batch, steps, heads, e = q.shape
    d = v.shape[3]
    size = LINEAR_CHUNK if beta is None else DELTA_CHUNK
    if mask is not None:
        padding = ~mask[:, :, None, None]
        q, k, v = (a.masked_fill(padding, 0) for a in (q, k, v))
        beta = None if beta is None else beta.masked_fill(~mask[:, :, None], 0)
    factors = _factors(q, decay, resets, mask)
    queries, keys, values = (_chunks(a, size) for a in (q, k, v))
    transposed = keys.transpose(-1, -2)
    attention = (queries @ transposed).tril()
    rates = None if beta is None else _chunks(beta[..., None], size)
    erased = keys if rates is None else rates * keys
    system = erased @ transposed
    to_end = transposed
    last = None
    if factors is not None:
        between, since = _products(_chunks(factors[..., None], size, fill=1).squeeze(-1))
        attention, system = attention * between, system * between
        queries, erased = queries * since[..., None], erased * since[..., None]
        to_end = transposed * between[..., -1, None, :]
        last = since[..., -1, None, None]
    if rates is not None:
        targets = torch.cat([rates * values, erased], dim=-1)
        solved = torch.linalg.solve_triangular(system.tril(-1), targets, upper=False, unitriangular=True)
        values, erased = solved.split([d, e], dim=-1)
    carried = q.new_zeros(batch, heads, e, d) if state is None else state.clone()
    ys = []
    for c in range(-(-steps // size)):
        write = values[:, :, c]
        if rates is not None:
            write = write - erased[:, :, c] @ carried
        ys.append(attention[:, :, c] @ write + queries[:, :, c] @ carried)
        carried = (carried if last is None else last[:, :, c] * carried) + to_end[:, :, c] @ write
    if not ys:
        return q.new_zeros(batch, 0, heads, d), carried
    return torch.cat(ys, dim=2)[:, :, :steps].transpose(1, 2), carried


def _factors(q: Tensor, decay: Tensor | None, resets: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """What the state is multiplied by before each step's write (B, T, H): the decay, 0 at a reset, 1 at a padded step."""
    if decay is None and resets is None:
        return None
    factors = q.new_ones(q.shape[:3]) if decay is None else decay
    if mask is not None:
        factors = factors.masked_fill(~mask[:, :, None], 1)
    return factors if resets is None else factors.masked_fill(resets[:, :, None], 0)


def _chunks(a: Tensor, size: int, fill: float = 0) -> Tensor:
    """(B, T, H, N) -> (B, H, T / size, size, N), the last chunk padded."""
    batch, steps, heads, n = a.shape
    padded = pad(a.transpose(1, 2), (0, 0, 0, -steps % size), value=fill)
    return padded.reshape(batch, heads, -(-steps // size), size, n)


def _products(factors: Tensor) -> tuple[Tensor, Tensor]:
    """Products of the factors (..., C) from one step to another: without quotients or logarithms, so that factors may be 0.

    Args:
        factors: of each step of a chunk.

    Returns:
        (..., C, C): at [i, j], for i >= j, the product of the factors after step j up to step i, above the diagonal 1; and
        (..., C): the product from the chunk's first step up to each.
    """
    size = factors.shape[-1]
    later = torch.ones(size, size, dtype=torch.bool, device=factors.device).tril(-1)
    between = torch.where(later, factors[..., None], 1).cumprod(-2)
    return between, factors.cumprod(-1)
