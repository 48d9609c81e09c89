"""Result tensors of the operators of fast weights: uninitialized for kernels, fake while tracing."""

from torch import Tensor

from srwm.ops.cpu.memory_pool import empty
from srwm.ops.cpu.recurrence import rows


def sizes(q: Tensor, v: Tensor) -> tuple[int, int, int, int, int]:
    """The sizes of a call.

    Args:
        q: queries (B, T, H, E).
        v: values (B, T, H, D).

    Returns:
        Batch, steps, heads, E, D.
    """
    batch, steps, heads, e = q.shape
    return batch, steps, heads, e, v.shape[3]


def results(q: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tensors for y and for the state after the last step.

    Args:
        q: queries (B, T, H, E).
        v: values (B, T, H, D).
        mask: (B, T) bool, or None.

    Returns:
        (B, T, H, D) and (B, H, E, D).
    """
    batch, steps, heads, e, d = sizes(q, v)
    return rows(q, (batch, steps, heads, d), mask), empty(q, (batch, heads, e, d))


def error(v: Tensor, beta: Tensor | None, mask: Tensor | None) -> Tensor:
    """A tensor for v - k state, which the backward of the delta rule needs.

    Args:
        v: values (B, T, H, D).
        beta: learning rates, or None for linear attention, which does not need it.
        mask: (B, T) bool, or None.

    Returns:
        (B, T, H, D), or an empty tensor.
    """
    return v.new_empty(0) if beta is None else rows(v, v.shape, mask)


def grads(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Tensors for the gradients of q, k, v, beta, decay and state.

    Args:
        q: queries (B, T, H, E).
        k: keys (B, T, H, E).
        v: values (B, T, H, D).
        beta: learning rates (B, T, H), or None.
        decay: factors of the state (B, T, H), or None.
        state: the initial state (B, H, E, D), or None.
        mask: (B, T) bool, or None.

    Returns:
        A tensor of the shape of each; an empty one for None.
    """
    grad_beta, grad_decay = (v.new_empty(0) if a is None else rows(v, a.shape, mask) for a in (beta, decay))
    grad_state = v.new_empty(0) if state is None else empty(v, state.shape)
    return rows(q, q.shape, mask), rows(k, k.shape, mask), rows(v, v.shape, mask), grad_beta, grad_decay, grad_state
