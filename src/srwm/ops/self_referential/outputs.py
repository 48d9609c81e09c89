"""What the operators of the self-referential weight matrix return: memory for kernels, shapes for tracing.

Sizes may be symbolic: what is asked of the library depends on H, E and D alone, which are constants of a model.
"""

from torch import Tensor

from srwm.ops.cpu.library import SAVED_HEADER, compiled
from srwm.ops.cpu.memory_pool import empty
from srwm.ops.cpu.recurrence import rows


def checkpoint_interval(e: int) -> int:
    """Steps between two saved copies of W: rebuilding W backwards drifts with their number, a copy costs memory."""
    return max(256, 4 * e)


def sizes(x: Tensor, weight: Tensor) -> tuple[int, int, int, int, int]:
    """Batch, steps, heads, E, D."""
    batch, steps, heads, e = x.shape
    return batch, steps, heads, e, weight.shape[2] - 2 * e - 4


def results(x: Tensor, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """y and the state after the last step."""
    batch, steps, heads, e, d = sizes(x, weight)
    return rows(x, (batch, steps, heads, d), mask), empty(x, (batch, heads, e, weight.shape[2]))


def saved(x: Tensor, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """What the backward needs of each step, behind a header, and copies of W."""
    batch, steps, heads, e, d = sizes(x, weight)
    copies = max(steps - 1, 0) // checkpoint_interval(e)
    floats = SAVED_HEADER + batch * steps * compiled().saved_floats(int(heads), int(e), int(d))
    return rows(x, (floats,), mask), rows(x, (batch, heads, copies, e, weight.shape[2]), mask)


def grads(
    x: Tensor, weight: Tensor, state: Tensor | None, mask: Tensor | None, of_state: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and state; the last is empty where it is not wanted."""
    grad_state = x.new_empty(0) if state is None or not of_state else empty(x, state.shape)
    return rows(x, x.shape, mask), x.new_empty(weight.shape), grad_state
