"""Result tensors of the operators of the self-referential weight matrix: uninitialized for kernels, fake while tracing.

B and T may be symbolic: the library, which only the CPU needs, is called only with H, E and D, which are constants of a model.
"""

from torch import Tensor

from srwm.ops.cpu.library import SAVED_HEADER, compiled
from srwm.ops.cpu.memory_pool import empty
from srwm.ops.cpu.recurrence import rows


def checkpoint_interval(e: int) -> int:
    """Steps between two saved copies of W. Backward rebuilds W from a copy: rounding errors grow with the interval, and each
    copy takes memory.

    Args:
        e: head width E.

    Returns:
        Number of steps.
    """
    return max(256, 4 * e)


def sizes(x: Tensor, weight: Tensor) -> tuple[int, int, int, int, int]:
    """The sizes of a call.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).

    Returns:
        Batch, steps, heads, E, D.
    """
    batch, steps, heads, e = x.shape
    return batch, steps, heads, e, weight.shape[2] - 2 * e - 4


def results(x: Tensor, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tensors for y and for the state after the last step.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        mask: (B, T) bool, or None.

    Returns:
        (B, T, H, D) and (B, H, E, D + 2E + 4).
    """
    batch, steps, heads, e, d = sizes(x, weight)
    return rows(x, (batch, steps, heads, d), mask), empty(x, (batch, heads, e, weight.shape[2]))


def saved(x: Tensor, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tensors that the backward pass needs.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        mask: (B, T) bool, or None.

    Returns:
        The saved floats of each step, and the copies of W, (B, H, copies, E, D + 2E + 4). The former are, on the CPU, a flat
        tensor that begins with a header, elsewhere what `saved_on_gpu` describes.
    """
    if x.device.type != "cpu":
        return saved_on_gpu(x, weight, mask)
    batch, steps, heads, e, d = sizes(x, weight)
    floats = SAVED_HEADER + batch * steps * compiled().saved_floats(int(heads), int(e), int(d))
    return rows(x, (floats,), mask), rows(x, _copies(x, weight), mask)


def saved_on_gpu(x: Tensor, weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tensors that the backward pass of the Triton kernels needs.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        mask: (B, T) bool, or None.

    Returns:
        Of each step and head softmax(q), softmax(k), W d and the rates, (B, T, H, D + 4E + 8), and the copies of W,
        (B, H, copies, E, D + 2E + 4).
    """
    batch, steps, heads, e, d = sizes(x, weight)
    return rows(x, (batch, steps, heads, d + 4 * e + 8), mask), empty(x, _copies(x, weight))


def _copies(x: Tensor, weight: Tensor) -> tuple[int, ...]:
    batch, steps, heads, e, _ = sizes(x, weight)
    return batch, heads, max(steps - 1, 0) // checkpoint_interval(e), e, weight.shape[2]


def grads(
    x: Tensor, weight: Tensor, state: Tensor | None, mask: Tensor | None, of_state: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Tensors for the gradients of x, weight and state.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        state: the initial state, or None.
        mask: (B, T) bool, or None.
        of_state: whether the gradient of the state is needed.

    Returns:
        A tensor of the shape of each; the last is empty where it is not needed.
    """
    grad_state = x.new_empty(0) if state is None or not of_state else empty(x, state.shape)
    return rows(x, x.shape, mask), x.new_empty(weight.shape), grad_state
