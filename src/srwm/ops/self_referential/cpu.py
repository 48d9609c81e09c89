"""The self-referential weight matrix on the CPU."""

from torch import Tensor

from srwm.ops.cpu.recurrence import run
from srwm.ops.operators import implement
from srwm.ops.self_referential import (
    operators,  # noqa: F401  defines what is implemented here
    outputs,
)

_FORWARD = "srwm_self_referential_forward"


def _inference(
    x: Tensor, weight: Tensor, state: Tensor | None, resets: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    results = outputs.results(x, weight, mask)
    interval = outputs.checkpoint_interval(x.shape[3])
    run(_FORWARD, outputs.sizes(x, weight), interval, resets, mask, (x, weight, state), (*results, None, None))
    return results


def _training(
    x: Tensor, weight: Tensor, state: Tensor | None, resets: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    results = *outputs.results(x, weight, mask), *outputs.saved(x, weight, mask)
    interval = outputs.checkpoint_interval(x.shape[3])
    run(_FORWARD, outputs.sizes(x, weight), interval, resets, mask, (x, weight, state), results)
    return results


def _backward(
    grad_y: Tensor | None,
    grad_state: Tensor | None,
    x: Tensor,
    weight: Tensor,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    state_out: Tensor,
    saved: Tensor,
    checkpoints: Tensor,
    of_state: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    sizes = outputs.sizes(x, weight)
    if grad_y is None:
        grad_y = x.new_zeros((*x.shape[:3], sizes[4]))
    grads = outputs.grads(x, weight, state, mask, of_state)
    inputs = (x, weight, state, state_out, saved, checkpoints, grad_y, grad_state)
    wanted = (*grads[:2], None if state is None or not of_state else grads[2])
    interval = outputs.checkpoint_interval(x.shape[3])
    run("srwm_self_referential_backward", sizes, interval, resets, mask, inputs, wanted)
    return grads


implement("self_referential_inference", "cpu", _inference)
implement("self_referential_training", "cpu", _training)
implement("self_referential_backward", "cpu", _backward)
