"""Both recurrences in plain PyTorch: the definition that every kernel is held against.

Any device, any floating dtype, differentiable as often as autograd allows. Inputs are expected to have passed the checks of
`srwm.ops`: matching shapes and one computing dtype.
"""

from torch import Tensor

from srwm.ops.steps import keep_padding, read, stack


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
    """Delta rule: state += beta k (v - k state), then y = q state. Without beta, linear attention: state += k v.

    With decay, the state is multiplied by it before it is read and written.

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
    d = v.shape[-1]
    state = q.new_zeros(batch, heads, e, d) if state is None else state.clone()
    if mask is not None:
        padding = ~mask[:, :, None, None]
        q, k, v = (z.masked_fill(padding, 0) for z in (q, k, v))
        beta, decay = (None if z is None else z.masked_fill(~mask[:, :, None], 0) for z in (beta, decay))
    outputs = []
    for t in range(steps):
        if resets is not None:
            state = state.masked_fill(resets[:, t, None, None, None], 0)
        kept = state if decay is None else decay[:, t, :, None, None] * state
        write = v[:, t]
        if beta is not None:
            write = beta[:, t, :, None] * (write - (k[:, t, :, None] @ kept).squeeze(2))
        updated = kept + k[:, t, :, :, None] * write[:, :, None]
        y = (q[:, t, :, None] @ updated).squeeze(2)
        state, y = keep_padding(updated, state, y, mask, t)
        outputs.append(y)
    return stack(outputs, q, d), state


def fast_weights_query(q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None, decay: Tensor | None, state: Tensor) -> Tensor:
    """The output of one next step of `fast_weights` for each of Q independent queries.

    Args:
        q: queries (B, Q, H, E).
        k: keys (B, Q, H, E).
        v: values (B, Q, H, D).
        beta: learning rates (B, Q, H); None: linear attention.
        decay: factors of the state (B, Q, H); None: the state is kept.
        state: the state (B, H, E, D).

    Returns:
        y (B, Q, H, D).
    """
    kept = 1 if decay is None else decay[..., None]
    write = v if beta is None else beta[..., None] * (v - kept * read(k, state))
    return kept * read(q, state) + (q * k).sum(-1, keepdim=True) * write
