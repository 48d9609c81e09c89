"""`delta_rule` and, without beta, `linear_attention` as operators: inference, training, backward."""

from typing import Any

import torch
from torch import Tensor

from srwm.ops.fast_weights import outputs, reference
from srwm.ops.operators import define, second_derivative

_INPUTS = "Tensor q, Tensor k, Tensor v, Tensor? beta, Tensor? decay, Tensor? state, Tensor? resets, Tensor? mask"


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, ...]) -> None:
    error = output[2]
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(error)
    ctx.save_for_backward(*inputs, error)


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad_y is None and grad_state is None:
        return (None,) * 8
    grads = torch.ops.srwm.fast_weights_backward(grad_y, grad_state, *ctx.saved_tensors)
    return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), None, None)


def _keep_inputs(ctx: Any, inputs: tuple[Tensor | None, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:10])


def _differentiate_twice(ctx: Any, *grad_grads: Tensor | None) -> tuple[Tensor | None, ...]:
    grad_y, grad_state, q, k, v, beta, decay, state, resets, mask = ctx.saved_tensors

    grads = second_derivative(
        lambda q, k, v, beta, decay, state: reference.fast_weights(q, k, v, beta, decay, state, resets, mask),
        (q, k, v, beta, decay, state),
        (grad_y, grad_state),
        grad_grads,
    )
    return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), None, None, None)


define(
    "fast_weights_inference",
    _INPUTS,
    2,
    lambda q, k, v, beta, decay, state, resets, mask: outputs.results(q, v, mask),
)
define(
    "fast_weights_training",
    _INPUTS,
    3,
    lambda q, k, v, beta, decay, state, resets, mask: (*outputs.results(q, v, mask), outputs.error(v, beta, mask)),
)
define(
    "fast_weights_backward",
    f"Tensor? grad_y, Tensor? grad_state, {_INPUTS}, Tensor error",
    6,
    lambda grad_y, grad_state, q, k, v, beta, decay, state, resets, mask, error: outputs.grads(
        q, k, v, beta, decay, state, mask
    ),
)
torch.library.register_autograd("srwm::fast_weights_training", _differentiate, setup_context=_keep_for_backward)
torch.library.register_autograd("srwm::fast_weights_backward", _differentiate_twice, setup_context=_keep_inputs)
