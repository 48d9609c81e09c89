"""`srwm` as native operators: for inference, for training, and its backward."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from srwm.ops import reference
from srwm.ops.native.operators import Outputs, compiled, define, empty, rows, run, second_derivative

_NARROW = 64 * (3 * 64 + 4)
"""Numbers in W below which heads go side by side: at E = D = 64 the two kinds of kernels are about equally fast."""

_INPUTS = "Tensor x, Tensor weight, Tensor? shift, Tensor? resets, Tensor? mask, int threads"


def checkpoint_interval(e: int) -> int:
    """Steps between two saved copies of W: rebuilding W backwards drifts with their number, a copy costs memory."""
    return max(256, 4 * e)


def num_threads() -> int:
    """PyTorch's number of threads, which a compiled graph keeps from when it was traced."""
    return torch.get_num_threads()


# what torch.compiler.assume_constant_result sets, which would import the whole compiler first: a second of processor time
num_threads._dynamo_marked_constant = True  # type: ignore[attr-defined]


def side_by_side(batch: int, heads: int, e: int, d: int, threads: int) -> bool:
    """Whether kernels take the heads of a sequence in groups that fill vectors, rather than one by one.

    So where W is narrow, at most a quarter of the lanes would be idle, and groups keep the threads as busy: a head takes about
    5/7 of its time by itself. Backward and tracing are told the `threads` of the forward, so that they choose the same.
    """
    width = compiled().heads_side_by_side
    groups = -(-heads // width)
    if e * (d + 2 * e + 4) >= _NARROW or 3 * groups * width > 4 * heads:
        return False
    return 5 * width * -(-batch * groups // threads) <= 7 * -(-batch * heads // threads)


def _sizes(x: Tensor, weight: Tensor) -> tuple[int, int, int, int, int]:
    batch, steps, heads, e = x.shape
    return batch, steps, heads, e, weight.shape[2] - 2 * e - 4


def _results(x: Tensor, weight: Tensor, mask: Tensor | None) -> Outputs:
    batch, steps, heads, e, d = _sizes(x, weight)
    return rows(x, (batch, steps, heads, d), mask), empty(x, (batch, heads, e, weight.shape[2]))


def _saved(x: Tensor, weight: Tensor, mask: Tensor | None, threads: int) -> Outputs:
    batch, steps, heads, e, d = _sizes(x, weight)
    copies = max(steps - 1, 0) // checkpoint_interval(e)
    row = compiled().saved_row(side_by_side(batch, heads, e, d, threads), heads, e, d)
    return rows(x, (batch, steps, row), mask), rows(x, (batch, heads, copies, e, weight.shape[2]), mask)


def _grads(
    x: Tensor, weight: Tensor, shift: Tensor | None, mask: Tensor | None, of_shift: bool
) -> tuple[Tensor, Tensor, Tensor]:
    grad_shift = x.new_empty(0) if shift is None or not of_shift else empty(x, shift.shape)
    return rows(x, x.shape, mask), x.new_empty(weight.shape), grad_shift


def _inference(
    x: Tensor, weight: Tensor, shift: Tensor | None, resets: Tensor | None, mask: Tensor | None, threads: int
) -> Outputs:
    results = _results(x, weight, mask)
    _forward(x, weight, shift, resets, mask, threads, (*results, None, None))
    return results


def _training(
    x: Tensor, weight: Tensor, shift: Tensor | None, resets: Tensor | None, mask: Tensor | None, threads: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    results = *_results(x, weight, mask), *_saved(x, weight, mask, threads)
    _forward(x, weight, shift, resets, mask, threads, results)
    return results


def _forward(
    x: Tensor,
    weight: Tensor,
    shift: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    threads: int,
    results: Sequence[Tensor | None],
) -> None:
    batch, _, heads, e, d = sizes = _sizes(x, weight)
    interval, grouped = checkpoint_interval(e), side_by_side(batch, heads, e, d, threads)
    run("srwm_forward", sizes, interval, resets, mask, (x, weight, shift), results, grouped)


def _backward(
    grad_y: Tensor | None,
    grad_shift: Tensor | None,
    x: Tensor,
    weight: Tensor,
    shift: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    threads: int,
    shift_out: Tensor,
    saved: Tensor,
    checkpoints: Tensor,
    of_shift: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    sizes = _sizes(x, weight)
    if grad_y is None:
        grad_y = x.new_zeros((*x.shape[:3], sizes[4]))
    grads = _grads(x, weight, shift, mask, of_shift)
    inputs = (x, weight, shift, shift_out, saved, checkpoints, grad_y, grad_shift)
    outputs = (*grads[:2], None if shift is None or not of_shift else grads[2])
    batch, _, heads, e, d = sizes
    grouped = side_by_side(batch, heads, e, d, threads)
    run("srwm_backward", sizes, checkpoint_interval(e), resets, mask, inputs, outputs, grouped)
    return grads


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.threads = inputs
    _, shift_out, saved, checkpoints = output
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(saved, checkpoints)
    ctx.save_for_backward(*tensors, shift_out, saved, checkpoints)


def _differentiate(ctx: Any, grad_y: Tensor | None, grad_shift: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad_y is None and grad_shift is None:
        return (None,) * 6
    of_shift = ctx.needs_input_grad[2]
    x, weight, shift, resets, mask, *forward = ctx.saved_tensors
    grads = torch.ops.srwm.srwm_backward(grad_y, grad_shift, x, weight, shift, resets, mask, ctx.threads, *forward, of_shift)
    return grads[0], grads[1], grads[2] if of_shift else None, None, None, None


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:7])


def _differentiate_twice(ctx: Any, *grad_grads: Tensor | None) -> tuple[Tensor | None, ...]:
    grad_y, grad_shift, x, weight, shift, resets, mask = ctx.saved_tensors
    grads = second_derivative(
        lambda x, weight, shift: reference.srwm(x, weight, shift, resets, mask),
        (x, weight, shift),
        (grad_y, grad_shift),
        grad_grads,
    )
    return (*(g if wanted else None for g, wanted in zip(grads, ctx.needs_input_grad, strict=False)), *(None,) * 7)


define("srwm_inference", _INPUTS, 2, _inference, lambda x, weight, shift, resets, mask, threads: _results(x, weight, mask))
define(
    "srwm_training",
    _INPUTS,
    4,
    _training,
    lambda x, weight, shift, resets, mask, threads: (*_results(x, weight, mask), *_saved(x, weight, mask, threads)),
)
define(
    "srwm_backward",
    f"Tensor? grad_y, Tensor? grad_shift, {_INPUTS}, Tensor shift_out, Tensor saved, Tensor checkpoints, bool of_shift",
    3,
    _backward,
    lambda grad_y, grad_shift, x, weight, shift, resets, mask, threads, shift_out, saved, checkpoints, of_shift: _grads(
        x, weight, shift, mask, of_shift
    ),
)
torch.library.register_autograd("srwm::srwm_training", _differentiate, setup_context=_keep_for_backward)
torch.library.register_autograd("srwm::srwm_backward", _differentiate_twice, setup_context=_keep_inputs)
