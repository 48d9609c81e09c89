"""The launchers of the Triton kernels as differentiable functions, so that they run on CPU tensors in Triton's interpreter."""

from typing import Any

import torch
from torch import Tensor

from srwm.ops.self_referential import cuda as self_referential

from ..recurrences import RECURRENCES, Recurrence


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


KERNELS: dict[str, Recurrence] = {"srwm": RECURRENCES["srwm"]._replace(run=_srwm)}
