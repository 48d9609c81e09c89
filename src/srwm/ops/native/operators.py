"""What the native operators share: definition, dense memory, the call of a kernel, the derivative of a backward operator."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from srwm.ops.native import library
from srwm.ops.native.pool import POOL

OPERATORS = torch.library.Library("srwm", "DEF")  # type: ignore[no-untyped-call]

Outputs = tuple[Tensor, Tensor]


def compiled() -> library.Library:
    """The compiled library.

    Raises:
        RuntimeError: there is none, or it cannot be loaded.
    """
    if library.LIBRARY is None:
        raise RuntimeError(f"backend: 'native' needs the compiled library; {library.MISSING}")
    return library.LIBRARY


def transforming() -> bool:
    """Whether torch.func or forward-mode differentiation is at work: native operators know neither."""
    return not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
    )


def define(name: str, arguments: str, results: int, kernel: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Register an operator `srwm::name`: its signature, its kernel for CPU tensors, and its shapes for tracing."""
    tensors = ", ".join(["Tensor"] * results)
    OPERATORS.define(f"{name}({arguments}) -> ({tensors})", tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    OPERATORS.impl(name, kernel, "CPU")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"srwm::{name}", fake, lib=OPERATORS)


def run(
    name: str,
    sizes: Sequence[int],
    interval: int,
    resets: Tensor | None,
    mask: Tensor | None,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor | None],
    side_by_side: bool = False,
) -> None:
    """Call a kernel on dense copies of the inputs where they are not dense; `sizes` are batch, steps, heads, e, d."""
    resets, mask, *inputs = [None if a is None else a.contiguous() for a in (resets, mask, *inputs)]
    compiled().call(name, (torch.get_num_threads(), side_by_side, *sizes, interval), (resets, mask), (*inputs, *outputs))


def empty(
    like: Tensor,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    layout: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Memory for a result, of any content."""
    if type(like) is not Tensor or not like.is_cpu:  # while tracing
        return like.new_empty(shape, dtype=dtype).contiguous(memory_format=layout)
    return POOL.empty(shape, dtype, layout)


def rows(like: Tensor, shape: Sequence[int], mask: Tensor | None) -> Tensor:
    """Memory for a result with a row for each step: kernels pass over the rows of masked steps, so those start as zeros."""
    memory = empty(like, shape)
    return memory if mask is None else memory.zero_()


def second_derivative(
    reference: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    grad_outputs: Sequence[Tensor | None],
    grad_grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Gradients of a backward operator for `grad_outputs` and `inputs`, from the reference's own graph.

    The backward operator computed the gradients of `reference(*inputs)` for `inputs` given `grad_outputs`; `grad_grads` are the
    gradients of what it returned.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        inputs = [_differentiable(a) for a in inputs]
        outputs = reference(*inputs)
        grad_outputs = [
            _differentiable(torch.zeros_like(o) if g is None else g) for o, g in zip(outputs, grad_outputs, strict=True)
        ]
        wanted = [a for a in inputs if a is not None]
        grads = torch.autograd.grad(outputs, wanted, grad_outputs, create_graph=True, materialize_grads=True)
        remaining = iter(grads)
        pairs = [(next(remaining), gg) for a, gg in zip(inputs, grad_grads, strict=True) if a is not None]
        pairs = [(g, gg) for g, gg in pairs if gg is not None and g.requires_grad]
        leaves = [*grad_outputs, *inputs]
        if not pairs:
            return [None] * len(leaves)
        found = iter(
            torch.autograd.grad(
                [g for g, _ in pairs],
                [a for a in leaves if a is not None],
                [gg for _, gg in pairs],
                create_graph=create_graph,
                allow_unused=True,
            )
        )
        return [None if a is None else next(found) for a in leaves]


def _differentiable(tensor: Tensor | None) -> Tensor | None:
    """An alias to differentiate for, so that one tensor's history does not count when it runs through another."""
    if tensor is None:
        return None
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
