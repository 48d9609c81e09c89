"""Batch normalization, 2x2 max-pool, dropout and ReLU as one operator, in training."""

import struct
from typing import Any

import torch
from torch import Tensor

from srwm.ops.cpu.library import compiled
from srwm.ops.operators import define, implement, second_derivative
from srwm.ops.pooling.images import channels_last

_PROBLEM = struct.Struct("@2i4qQI2f")
"""`srwm_norm_pool` in api.h."""


def _problem(images: Tensor, eps: float, dropout: float, seed: int) -> bytes:
    count, channels, height, width = images.shape
    half = images.dtype == torch.bfloat16
    drop_below, grow = round(dropout * 2**32), 1 / (1 - dropout)
    return _PROBLEM.pack(
        torch.get_num_threads(), half, count, height, width, channels, seed, min(drop_below, 2**32 - 1), grow, eps
    )


def _results(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    count, channels, height, width = x.shape
    shape = (count, channels, height // 2, width // 2)
    y, largest = (channels_last(x, shape, x.dtype) for _ in range(2))
    mean, variance = (x.new_empty(channels, dtype=torch.float32) for _ in range(2))
    return y, mean, variance, largest, channels_last(x, shape, torch.uint8)


def _training(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, dropout: float, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    y, mean, variance, largest, places = results = _results(x)
    x = x.contiguous(memory_format=torch.channels_last)
    arrays = (x, weight.contiguous(), bias.contiguous(), y, largest, places, mean, variance)
    compiled().run("srwm_norm_pool_forward", _problem(x, eps, dropout, seed), arrays)
    return results


def _backward(
    grad_y: Tensor,
    x: Tensor,
    weight: Tensor,
    largest: Tensor,
    places: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    dropout: float,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = channels_last(x, tuple(x.shape), x.dtype)
    grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(weight)
    x, largest, grad_y, places = (a.contiguous(memory_format=torch.channels_last) for a in (x, largest, grad_y, places))
    arrays = (x, weight.contiguous(), largest, grad_y, places, mean, variance, grad_x, grad_weight, grad_bias)
    compiled().run("srwm_norm_pool_backward", _problem(x, eps, dropout, 0), arrays)
    return grad_x, grad_weight, grad_bias


def _reference(x: Tensor, weight: Tensor, bias: Tensor, places: Tensor, eps: float, dropout: float) -> tuple[Tensor]:
    """The output by PyTorch's operations, given the places of the maxima and what was dropped."""
    dtype, (height, width) = x.dtype, places.shape[2:]
    x = x.float()
    scale = weight * (x.var((0, 2, 3), unbiased=False) + eps).rsqrt()
    z = (x - x.mean((0, 2, 3), keepdim=True)) * scale[:, None, None] + bias[:, None, None]
    fours = z[..., : 2 * height, : 2 * width].reshape(*z.shape[:2], height, 2, width, 2).movedim(3, 4).flatten(4)
    largest = fours.gather(4, (places & 3).long()[..., None])[..., 0]
    return (torch.where(places < 4, largest / (1 - dropout), 0.0).to(dtype),)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, _, ctx.eps, ctx.dropout, _ = inputs
    _, mean, variance, largest, places = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(mean, variance, largest, places)
    ctx.save_for_backward(x, weight, largest, places, mean, variance)


def _differentiate(ctx: Any, grad_y: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad_y is None:
        return (None,) * 6
    grads = torch.ops.srwm.norm_pool_backward(grad_y, *ctx.saved_tensors, ctx.eps, ctx.dropout)
    return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), None, None, None)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    grad_y, x, weight, _, places, _, _, ctx.eps, ctx.dropout = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(grad_y, x, weight, places)


def _differentiate_twice(ctx: Any, *grad_grads: Tensor | None) -> tuple[Tensor | None, ...]:
    grad_y, x, weight, places = ctx.saved_tensors
    of_grad_y, of_x, of_weight, _ = second_derivative(
        lambda x, weight, bias: _reference(x, weight, bias, places, ctx.eps, ctx.dropout),
        (x, weight, torch.zeros_like(weight)),
        (grad_y,),
        grad_grads,
    )
    return of_grad_y, of_x, of_weight, None, None, None, None, None, None


define(
    "norm_pool_training",
    "Tensor x, Tensor weight, Tensor bias, float eps, float dropout, int seed",
    5,
    lambda x, weight, bias, eps, dropout, seed: _results(x),
)
define(
    "norm_pool_backward",
    "Tensor grad_y, Tensor x, Tensor weight, Tensor largest, Tensor places, Tensor mean, Tensor variance, "
    "float eps, float dropout",
    3,
    lambda grad_y, x, weight, *_: (
        channels_last(x, tuple(x.shape), x.dtype),
        torch.empty_like(weight),
        torch.empty_like(weight),
    ),
)
implement("norm_pool_training", "cpu", _training)
implement("norm_pool_backward", "cpu", _backward)
torch.library.register_autograd("srwm::norm_pool_training", _differentiate, setup_context=_keep_for_backward)
torch.library.register_autograd("srwm::norm_pool_backward", _differentiate_twice, setup_context=_keep_inputs)
