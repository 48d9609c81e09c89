"""What the operators of fast weights return: memory for kernels, shapes for tracing."""

from torch import Tensor

from srwm.ops.cpu.memory_pool import empty
from srwm.ops.cpu.recurrence import rows


def sizes(q: Tensor, v: Tensor) -> tuple[int, int, int, int, int]:
    """Batch, steps, heads, E, D."""
    batch, steps, heads, e = q.shape
    return batch, steps, heads, e, v.shape[3]


def results(q: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """y and the state after the last step."""
    batch, steps, heads, e, d = sizes(q, v)
    return rows(q, (batch, steps, heads, d), mask), empty(q, (batch, heads, e, d))


def error(v: Tensor, beta: Tensor | None, mask: Tensor | None) -> Tensor:
    """Memory for v - k state, which the delta rule's backward needs."""
    return v.new_empty(0) if beta is None else rows(v, v.shape, mask)


def grads(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None, state: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v, beta and state; empty for what was not given."""
    grad_beta = v.new_empty(0) if beta is None else rows(v, beta.shape, mask)
    grad_state = v.new_empty(0) if state is None else empty(v, state.shape)
    return rows(q, q.shape, mask), rows(k, k.shape, mask), rows(v, v.shape, mask), grad_beta, grad_state
