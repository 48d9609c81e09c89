"""The launchers of the Triton kernels as differentiable functions, so that they run on CPU tensors in Triton's interpreter."""

from typing import Any

import torch
from torch import Tensor

from srwm.ops.fast_weights import cuda as fast_weights
from srwm.ops.self_referential import cuda as self_referential

from ..recurrences import RECURRENCES


class _SelfReferential(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        y, state_out, saved, checkpoints = self_referential.training(*inputs)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, state_out, saved, checkpoints)
        return y, state_out

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None) -> tuple[Tensor | None, ...]:
        of_state = ctx.needs_input_grad[2]
        grads = self_referential.backward(grad_y, grad_state, *ctx.saved_tensors, of_state)
        return grads[0], grads[1], grads[2] if of_state else None, None, None


def _srwm(
    x: Tensor,
    weight: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    backend: str,
) -> tuple[Tensor, Tensor]:
    return _SelfReferential.apply(x, weight, state, resets, mask)


class _FastWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        y, state_out, error = fast_weights.training(*inputs)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, error)
        return y, state_out

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, grad_state: Tensor | None) -> tuple[Tensor | None, ...]:
        grads = fast_weights.backward(grad_y, grad_state, *ctx.saved_tensors)
        return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), None, None)


def _fast_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None = None,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    decay: Tensor | None = None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    return _FastWeights.apply(q, k, v, beta, decay, state, resets, mask)


KERNELS = {name: r._replace(run=_srwm if name == "srwm" else _fast_weights) for name, r in RECURRENCES.items()}
