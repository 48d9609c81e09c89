"""`delta_rule` and `linear_attention` (the one without beta) as native operators: inference, training, backward."""

from typing import Any

import torch
from torch import Tensor

from srwm.ops import reference
from srwm.ops.native.operators import Outputs, define, empty, rows, run, second_derivative

_INPUTS = "Tensor q, Tensor k, Tensor v, Tensor? beta, Tensor? state, Tensor? resets, Tensor? mask"


def _sizes(q: Tensor, v: Tensor) -> tuple[int, int, int, int, int]:
    batch, steps, heads, e = q.shape
    return batch, steps, heads, e, v.shape[3]


def _results(q: Tensor, v: Tensor, mask: Tensor | None) -> Outputs:
    batch, steps, heads, e, d = _sizes(q, v)
    return rows(q, (batch, steps, heads, d), mask), empty(q, (batch, heads, e, d))


def _error(v: Tensor, beta: Tensor | None, mask: Tensor | None) -> Tensor:
    """Memory for v - k state, which the delta rule's backward needs."""
    return v.new_empty(0) if beta is None else rows(v, v.shape, mask)


def _grads(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None, state: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_beta = v.new_empty(0) if beta is None else rows(v, beta.shape, mask)
    grad_state = v.new_empty(0) if state is None else empty(v, state.shape)
    return rows(q, q.shape, mask), rows(k, k.shape, mask), rows(v, v.shape, mask), grad_beta, grad_state


def _inference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> Outputs:
    results = _results(q, v, mask)
    run("srwm_fast_forward", _sizes(q, v), 0, resets, mask, (q, k, v, beta, state), (*results, None))
    return results


def _training(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    results = *_results(q, v, mask), _error(v, beta, mask)
    run("srwm_fast_forward", _sizes(q, v), 0, resets, mask, (q, k, v, beta, state), results)
    return results


def _backward(
    grad_y: Tensor | None,
    grad_state: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    error: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    if grad_y is None:
        grad_y = torch.zeros_like(v)
    grads = _grads(q, k, v, beta, state, mask)
    inputs = (q, k, v, beta, state, error, grad_y, grad_state)
    outputs = (*grads[:3], None if beta is None else grads[3], None if state is None else grads[4])
    run("srwm_fast_backward", _sizes(q, v), 0, resets, mask, inputs, outputs)
    return grads


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, ...]) -> None:
    error = output[2]
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(error)
    ctx.save_for_backward(*inputs, error)


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad_y is None and grad_state is None:
        return (None,) * 7
    grads = torch.ops.srwm.fast_weights_backward(grad_y, grad_state, *ctx.saved_tensors)
    return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), None, None)


def _keep_inputs(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:9])


def _differentiate_twice(ctx: Any, *grad_grads: Tensor | None) -> tuple[Tensor | None, ...]:
    grad_y, grad_state, q, k, v, beta, state, resets, mask = ctx.saved_tensors

    grads = second_derivative(
        lambda q, k, v, beta, state: reference.fast_weights(q, k, v, beta, state, resets, mask),
        (q, k, v, beta, state),
        (grad_y, grad_state),
        grad_grads,
    )
    return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), None, None, None)


define(
    "fast_weights_inference",
    _INPUTS,
    2,
    _inference,
    lambda q, k, v, beta, state, resets, mask: _results(q, v, mask),
)
define(
    "fast_weights_training",
    _INPUTS,
    3,
    _training,
    lambda q, k, v, beta, state, resets, mask: (*_results(q, v, mask), _error(v, beta, mask)),
)
define(
    "fast_weights_backward",
    f"Tensor? grad_y, Tensor? grad_state, {_INPUTS}, Tensor error",
    5,
    _backward,
    lambda grad_y, grad_state, q, k, v, beta, state, resets, mask, error: _grads(q, k, v, beta, state, mask),
)
torch.library.register_autograd("srwm::fast_weights_training", _differentiate, setup_context=_keep_for_backward)
torch.library.register_autograd("srwm::fast_weights_backward", _differentiate_twice, setup_context=_keep_inputs)
