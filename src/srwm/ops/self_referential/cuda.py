"""The self-referential weight matrix on CUDA and HIP devices, by Triton kernels."""

from typing import Any

import torch
from torch import Tensor

from srwm.ops.gpu import launch
from srwm.ops.gpu.availability import padded, tile, warps
from srwm.ops.operators import implement
from srwm.ops.self_referential import (
    operators,  # noqa: F401  defines what is implemented here
    outputs,
)


def inference(
    x: Tensor, weight: Tensor, state: Tensor | None, resets: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The operator `self_referential_inference`; on the CPU it runs in Triton's interpreter.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        state: initial state (B, H, E, D + 2E + 4), or None.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.

    Returns:
        y (B, T, H, D) and the state after the last step.
    """
    results = outputs.results(x, weight, mask)
    _forward(x, weight, state, resets, mask, (*results, None, None))
    return results


def training(
    x: Tensor, weight: Tensor, state: Tensor | None, resets: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The operator `self_referential_training`; on the CPU it runs in Triton's interpreter.

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        state: initial state (B, H, E, D + 2E + 4), or None.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.

    Returns:
        y, the state after the last step, and what backward needs: rows of the steps and copies of W.
    """
    results = *outputs.results(x, weight, mask), *outputs.saved_on_gpu(x, weight, mask)
    _forward(x, weight, state, resets, mask, results)
    return results


def backward(
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
    """The operator `self_referential_backward`; on the CPU it runs in Triton's interpreter.

    Args:
        grad_y: gradient of y, or None for zeros.
        grad_state: gradient of the last state, or None for zeros.
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        state: initial state (B, H, E, D + 2E + 4), or None.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.
        state_out: the state after the last step.
        saved: rows of the steps.
        checkpoints: copies of W.
        of_state: whether the gradient of the initial state is needed.

    Returns:
        The gradients of x, weight and state; the last is empty where it is not needed.
    """
    from srwm.ops.gpu import srwm_backward

    batch, steps, heads, _, d = outputs.sizes(x, weight)
    of_state = of_state and state is not None
    grad_x, _, grad_initial = outputs.grads(x, weight, state, mask, of_state)
    if steps == 0:
        if of_state:
            grad_initial = torch.zeros_like(state_out) if grad_state is None else grad_state.clone()
        return grad_x, torch.zeros_like(weight), grad_initial
    if grad_y is None:
        grad_y = x.new_zeros((*x.shape[:3], d))
    starts = None
    if resets is not None:
        numbers = torch.arange(steps, dtype=torch.int32, device=x.device)
        starts = torch.where(resets, numbers, -1).cummax(1).values
    shares = x.new_empty((batch, *weight.shape))
    arrays = (x, weight, state, resets, mask, state_out, saved, checkpoints, starts, grad_y, grad_state)
    launch.run(
        srwm_backward.backward,
        (batch * heads,),
        (*(None if a is None else a.contiguous() for a in arrays), grad_x, shares, grad_initial),
        (steps, heads),
        HAS_GRAD_STATE=grad_state is not None,
        OF_STATE=of_state,
        **_constants(x, weight, state, resets, mask),
    )
    return grad_x, shares.sum(0), grad_initial


def _forward(
    x: Tensor,
    weight: Tensor,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    results: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
) -> None:
    from srwm.ops.gpu import srwm_forward

    batch, steps, heads, _, _ = outputs.sizes(x, weight)
    if steps == 0:
        results[1].zero_() if state is None else results[1].copy_(state)
        return
    launch.run(
        srwm_forward.forward,
        (batch * heads,),
        (*(None if a is None else a.contiguous() for a in (x, weight, state, resets, mask)), *results),
        (steps, heads),
        TRAINING=results[2] is not None,
        **_constants(x, weight, state, resets, mask),
    )


def _constants(x: Tensor, weight: Tensor, state: Tensor | None, resets: Tensor | None, mask: Tensor | None) -> dict[str, Any]:
    _, _, _, e, d = outputs.sizes(x, weight)
    return {
        "E": e,
        "D": d,
        "BE": padded(e),
        "BD": padded(d),
        "INTERVAL": outputs.checkpoint_interval(e),
        "HAS_STATE": state is not None,
        "HAS_RESETS": resets is not None,
        "HAS_MASK": mask is not None,
        "num_warps": warps(tile(e, d)),
    }


implement("self_referential_inference", "cuda", inference)
implement("self_referential_training", "cuda", training)
implement("self_referential_backward", "cuda", backward)
