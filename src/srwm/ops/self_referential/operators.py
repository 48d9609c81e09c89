"""`srwm` as operators: for inference, for training, and its backward, with their derivatives."""

from typing import Any

import torch
from torch import Tensor

from srwm.ops.operators import define, second_derivative
from srwm.ops.self_referential import outputs, reference

_INPUTS = "Tensor x, Tensor weight, Tensor? state, Tensor? resets, Tensor? mask"


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, state_out, saved, checkpoints = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(saved, checkpoints)
    ctx.save_for_backward(*inputs, state_out, saved, checkpoints)


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad_y is None and grad_state is None:
        return (None,) * 5
    of_state = ctx.needs_input_grad[2]
    grads = torch.ops.srwm.self_referential_backward(grad_y, grad_state, *ctx.saved_tensors, of_state)
    return grads[0], grads[1], grads[2] if of_state else None, None, None


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:7])


def _differentiate_twice(ctx: Any, *grad_grads: Tensor | None) -> tuple[Tensor | None, ...]:
    grad_y, grad_state, x, weight, state, resets, mask = ctx.saved_tensors
    grads = second_derivative(
        lambda x, weight, state: reference.srwm(x, weight, state, resets, mask),
        (x, weight, state),
        (grad_y, grad_state),
        grad_grads,
    )
    return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), *(None,) * 6)


define(
    "self_referential_inference",
    _INPUTS,
    2,
    lambda x, weight, state, resets, mask: outputs.results(x, weight, mask),
)
define(
    "self_referential_training",
    _INPUTS,
    4,
    lambda x, weight, state, resets, mask: (*outputs.results(x, weight, mask), *outputs.saved(x, weight, mask)),
)
define(
    "self_referential_backward",
    f"Tensor? grad_y, Tensor? grad_state, {_INPUTS}, Tensor state_out, Tensor saved, Tensor checkpoints, bool of_state",
    3,
    lambda grad_y, grad_state, x, weight, state, resets, mask, state_out, saved, checkpoints, of_state: outputs.grads(
        x, weight, state, mask, of_state
    ),
)
torch.library.register_autograd("srwm::self_referential_training", _differentiate, setup_context=_keep_for_backward)
torch.library.register_autograd("srwm::self_referential_backward", _differentiate_twice, setup_context=_keep_inputs)
