"""Fast weights on CUDA and HIP devices, by Triton kernels."""

import math
from typing import Any

import torch
from torch import Tensor

from srwm.ops.cpu.recurrence import rows
from srwm.ops.fast_weights import (
    operators,  # noqa: F401  defines what is implemented here
    outputs,
)
from srwm.ops.gpu import launch
from srwm.ops.gpu.availability import block_of_columns, padded, warps_of_block
from srwm.ops.operators import implement


def inference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The operator `fast_weights_inference`; on the CPU it runs in Triton's interpreter.

    Args:
        q: queries (B, T, H, E).
        k: keys (B, T, H, E).
        v: values (B, T, H, D).
        beta: learning rates (B, T, H); None: linear attention.
        decay: factors of the state (B, T, H), or None.
        state: initial state (B, H, E, D), or None.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.

    Returns:
        y (B, T, H, D) and the state after the last step.
    """
    results = outputs.results(q, v, mask)
    _forward((q, k, v, beta, decay, state, resets, mask), (*results, None))
    return results


def training(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator `fast_weights_training`; on the CPU it runs in Triton's interpreter.

    Args:
        q: queries (B, T, H, E).
        k: keys (B, T, H, E).
        v: values (B, T, H, D).
        beta: learning rates (B, T, H); None: linear attention.
        decay: factors of the state (B, T, H), or None.
        state: initial state (B, H, E, D), or None.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.

    Returns:
        y, the state after the last step, and v - k state, empty without beta.
    """
    results = *outputs.results(q, v, mask), outputs.error(v, beta, mask)
    _forward((q, k, v, beta, decay, state, resets, mask), results)
    return results


def backward(
    grad_y: Tensor | None,
    grad_state: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    error: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The operator `fast_weights_backward`; on the CPU it runs in Triton's interpreter.

    Args:
        grad_y: gradient of y, or None for zeros.
        grad_state: gradient of the last state, or None for zeros.
        q: queries (B, T, H, E).
        k: keys (B, T, H, E).
        v: values (B, T, H, D).
        beta: learning rates (B, T, H); None: linear attention.
        decay: factors of the state (B, T, H), or None.
        state: initial state (B, H, E, D), or None.
        resets: (B, T) bool, or None.
        mask: (B, T) bool, or None.
        error: what the forward kept.

    Returns:
        The gradients of q, k, v, beta, decay and state, empty for None.
    """
    from srwm.ops.gpu import fast_weights_kernels

    batch, steps, heads, e, d = outputs.sizes(q, v)
    columns = block_of_columns(d)
    blocks, interval = -(-d // columns), max(math.isqrt(steps), 1)
    grad_v = rows(v, v.shape, mask)
    grad_initial = v.new_empty(0) if state is None else torch.empty_like(state, memory_format=torch.contiguous_format)
    shares = [rows(q, (blocks, *q.shape), mask), rows(q, (blocks, *k.shape), mask)]
    shares += [q.new_empty(0) if a is None else rows(q, (blocks, *a.shape), mask) for a in (beta, decay)]
    states = [q.new_empty(batch * heads * blocks, n, e, columns) for n in (-(-steps // interval), interval)]
    grad_y = torch.zeros_like(v) if grad_y is None else grad_y
    arrays = (q, k, v if beta is None else error, beta, decay, state, resets, mask, grad_y, grad_state)
    launch.run(
        fast_weights_kernels.backward,
        (batch * heads, blocks),
        (
            *(None if a is None else a.contiguous() for a in arrays),
            *(*shares[:2], grad_v, *shares[2:], grad_initial, *states),
        ),
        (steps, heads, d, batch * steps * heads, interval),
        HAS_GRAD_STATE=grad_state is not None,
        **_constants(q, v, beta, decay, state, resets, mask),
    )
    of_q, of_k, of_beta, of_decay = (a.sum(0) if a.dim() > 1 else a for a in shares)
    return of_q, of_k, grad_v, of_beta, of_decay, grad_initial


def _forward(inputs: tuple[Tensor | None, ...], results: tuple[Tensor, Tensor, Tensor | None]) -> None:
    from srwm.ops.gpu import fast_weights_kernels

    q, _, v, *optional = inputs
    assert q is not None
    assert v is not None
    batch, steps, heads, _, d = outputs.sizes(q, v)
    if steps == 0:
        state = inputs[5]
        results[1].zero_() if state is None else results[1].copy_(state)
        return
    launch.run(
        fast_weights_kernels.forward,
        (batch * heads, -(-d // block_of_columns(d))),
        (*(None if a is None else a.contiguous() for a in inputs), *results),
        (steps, heads, d),
        TRAINING=results[2] is not None,
        **_constants(q, v, *optional),
    )


def _constants(
    q: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> dict[str, Any]:
    e, columns = q.shape[3], block_of_columns(v.shape[3])
    return {
        "E": e,
        "BE": padded(e),
        "BD": columns,
        "HAS_BETA": beta is not None,
        "HAS_DECAY": decay is not None,
        "HAS_STATE": state is not None,
        "HAS_RESETS": resets is not None,
        "HAS_MASK": mask is not None,
        "num_warps": warps_of_block(e, v.shape[3]),
    }


implement("fast_weights_inference", "cuda", inference)
implement("fast_weights_training", "cuda", training)
implement("fast_weights_backward", "cuda", backward)
