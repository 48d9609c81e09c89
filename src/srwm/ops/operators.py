"""Registration in `torch.library`: schemas, fakes for tracing, kernels by device, second derivatives."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from srwm.ops.dispatch import without_autocast

OPERATORS = torch.library.Library("srwm", "DEF")  # type: ignore[no-untyped-call]

_DEVICES: dict[str, set[str]] = {}


def define(name: str, arguments: str, results: int, fake: Callable[..., Any]) -> None:
    """Register an operator `srwm::name`: its schema and its fake.

    Args:
        name: the operator's name.
        arguments: its arguments, in the syntax of `torch.library`.
        results: its number of result tensors.
        fake: a function of the same arguments that returns results of the right shapes and dtypes, for tracing.
    """
    tensors = ", ".join(["Tensor"] * results)
    OPERATORS.define(f"{name}({arguments}) -> ({tensors})", tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"srwm::{name}", fake, lib=OPERATORS)


def implement(name: str, device: str, kernel: Callable[..., Any]) -> None:
    """Register the kernel of `srwm::name` for one type of device.

    Args:
        name: the operator's name.
        device: a type of device, such as "cpu" or "cuda".
        kernel: the function that computes the operator.
    """
    OPERATORS.impl(name, kernel, device.upper())  # type: ignore[no-untyped-call]
    _DEVICES.setdefault(name, set()).add(device)


def devices(name: str) -> set[str]:
    """The types of device that have a kernel for `srwm::name`.

    Args:
        name: the operator.

    Returns:
        The types, such as cpu.
    """
    return _DEVICES.get(name, set())


def second_derivative(
    reference: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[Tensor | None],
    grad_outputs: Sequence[Tensor | None],
    grad_grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Gradients of a backward operator, by differentiating the reference twice.

    The backward operator computes the gradients of `reference(*inputs)` with respect to `inputs`, given `grad_outputs`.

    Args:
        reference: the forward computation in plain PyTorch.
        inputs: its inputs.
        grad_outputs: the gradients of its outputs.
        grad_grads: the gradients of what the backward operator returned.

    Returns:
        The gradients with respect to `grad_outputs`, then `inputs`; None where there is none.
    """
    create_graph = torch.is_grad_enabled()
    like = next(a for a in inputs if a is not None)
    with torch.enable_grad(), without_autocast(like):
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
