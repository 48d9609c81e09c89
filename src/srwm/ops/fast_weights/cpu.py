"""Fast weights on the CPU."""

import torch
from torch import Tensor

from srwm.ops.cpu.recurrence import run
from srwm.ops.fast_weights import (
    operators,  # noqa: F401  defines what is implemented here
    outputs,
)
from srwm.ops.operators import implement


def _inference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    results = outputs.results(q, v, mask)
    run("srwm_fast_weights_forward", outputs.sizes(q, v), 0, resets, mask, (q, k, v, beta, decay, state), (*results, None))
    return results


def _training(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    results = *outputs.results(q, v, mask), outputs.error(v, beta, mask)
    run("srwm_fast_weights_forward", outputs.sizes(q, v), 0, resets, mask, (q, k, v, beta, decay, state), results)
    return results


def _backward(
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
    if grad_y is None:
        grad_y = torch.zeros_like(v)
    grads = outputs.grads(q, k, v, beta, decay, state, mask)
    inputs = (q, k, v, beta, decay, state, error, grad_y, grad_state)
    given = (q, k, v, beta, decay, state)
    wanted = [None if a is None else grad for a, grad in zip(given, grads, strict=True)]
    run("srwm_fast_weights_backward", outputs.sizes(q, v), 0, resets, mask, inputs, wanted)
    return grads


implement("fast_weights_inference", "cpu", _inference)
implement("fast_weights_training", "cpu", _training)
implement("fast_weights_backward", "cpu", _backward)
