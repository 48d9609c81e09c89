"""Max-pool by windows of 3x3, stride 2, padded by 1, as an operator."""

import struct
from typing import Any

import torch
from torch import Tensor

from srwm.ops.cpu.library import compiled
from srwm.ops.operators import define, implement
from srwm.ops.pooling.images import channels_last

_PROBLEM = struct.Struct("@2i4q")
"""`srwm_max_pool` in api.h."""


def _problem(dtype: torch.dtype, shape: tuple[int, ...]) -> bytes:
    count, channels, height, width = shape
    return _PROBLEM.pack(torch.get_num_threads(), dtype == torch.bfloat16, count, height, width, channels)


def _pooled(x: Tensor) -> tuple[int, ...]:
    return (*x.shape[:2], (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2)


def _result(x: Tensor) -> Tensor:
    return channels_last(x, _pooled(x), x.dtype)


def _results(x: Tensor) -> tuple[Tensor, Tensor]:
    return _result(x), channels_last(x, _pooled(x), torch.uint8)


def _forward(x: Tensor, y: Tensor, places: Tensor | None) -> None:
    x = x.contiguous(memory_format=torch.channels_last)
    compiled().run("srwm_max_pool_forward", _problem(x.dtype, tuple(x.shape)), (x, y, places))


def _training(x: Tensor) -> tuple[Tensor, Tensor]:
    y, places = _results(x)
    _forward(x, y, places)
    return y, places


def _inference(x: Tensor) -> Tensor:
    y = _result(x)
    _forward(x, y, None)
    return y


def _backward(grad_y: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    grad_x = _gradient(grad_y, places, height, width)
    grad_y, places = (a.contiguous(memory_format=torch.channels_last) for a in (grad_y, places))
    compiled().run("srwm_max_pool_backward", _problem(grad_x.dtype, tuple(grad_x.shape)), (places, grad_y, grad_x))
    return grad_x


def _gradient(grad_y: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    return channels_last(grad_y, (*grad_y.shape[:2], height, width), grad_y.dtype)


def _keep_places(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(output[1])
    ctx.size = tuple(inputs[0].shape[2:])
    ctx.save_for_backward(output[1])


def _differentiate(ctx: Any, grad_y: Tensor | None, _: None) -> Tensor | None:
    return None if grad_y is None else torch.ops.srwm.max_pool_backward(grad_y, *ctx.saved_tensors, *ctx.size)


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])


def _differentiate_twice(ctx: Any, grad_grad_x: Tensor) -> tuple[Tensor, None, None, None]:
    """The second derivative: max-pool is linear given the places of the maxima, so they are gathered."""
    (places,) = ctx.saved_tensors
    count, channels, rows, columns = places.shape
    places = places.long()
    row, column = (torch.arange(n, dtype=torch.int64, device=places.device) for n in (rows, columns))
    row = 2 * row[:, None] - 1 + places // 3
    column = 2 * column - 1 + places % 3
    at = (row * grad_grad_x.shape[3] + column).reshape(count, channels, -1)
    return grad_grad_x.reshape(count, channels, -1).gather(2, at).reshape(places.shape), None, None, None


define("max_pool_training", "Tensor x", 2, _results)
define("max_pool_inference", "Tensor x", 1, _result)
define("max_pool_backward", "Tensor grad_y, Tensor places, int height, int width", 1, _gradient)
implement("max_pool_training", "cpu", _training)
implement("max_pool_inference", "cpu", _inference)
implement("max_pool_backward", "cpu", _backward)
torch.library.register_autograd("srwm::max_pool_training", _differentiate, setup_context=_keep_places)
torch.library.register_autograd("srwm::max_pool_backward", _differentiate_twice, setup_context=_keep_for_second)
