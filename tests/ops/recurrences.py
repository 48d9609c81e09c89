"""The recurrences behind one face: how their inputs are drawn, and all that a call gives, gradients included."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from srwm import ops

Inputs = dict[str, Tensor]


class Sizes(NamedTuple):
    batch: int
    steps: int
    heads: int
    e: int
    d: int


class Recurrence(NamedTuple):
    name: str
    run: Callable[..., tuple[Tensor, Tensor]]
    query: Callable[..., Tensor]
    draw: Callable[[Sizes, torch.Generator], Inputs]


def _draw_srwm(sizes: Sizes, generator: torch.Generator) -> Inputs:
    batch, steps, heads, e, d = sizes
    rows = d + 2 * e + 4
    return {
        "x": torch.randn(batch, steps, heads, e, generator=generator),
        "weight": torch.randn(heads, e, rows, generator=generator) / e**0.5,
        "state": 0.1 * torch.randn(batch, heads, e, rows, generator=generator) / e**0.5,
    }


def _draw_linear_attention(sizes: Sizes, generator: torch.Generator) -> Inputs:
    batch, steps, heads, e, d = sizes
    return {
        "q": torch.randn(batch, steps, heads, e, generator=generator).softmax(-1),
        "k": torch.randn(batch, steps, heads, e, generator=generator).softmax(-1),
        "v": torch.randn(batch, steps, heads, d, generator=generator),
        "state": 0.1 * torch.randn(batch, heads, e, d, generator=generator) / e**0.5,
    }


def _draw_delta_rule(sizes: Sizes, generator: torch.Generator) -> Inputs:
    beta = torch.randn(sizes[:3], generator=generator).sigmoid()
    return {**_draw_linear_attention(sizes, generator), "beta": beta}


def _with_decay(draw: Callable[[Sizes, torch.Generator], Inputs], sizes: Sizes, generator: torch.Generator) -> Inputs:
    return {**draw(sizes, generator), "decay": torch.randn(sizes[:3], generator=generator).add(1).sigmoid()}


RECURRENCES = {
    r.name: r
    for r in (
        Recurrence("srwm", ops.srwm, ops.srwm_query, _draw_srwm),
        Recurrence("delta_rule", ops.delta_rule, ops.delta_rule_query, _draw_delta_rule),
        Recurrence("linear_attention", ops.linear_attention, ops.linear_attention_query, _draw_linear_attention),
        Recurrence("delta_rule_decay", ops.delta_rule, ops.delta_rule_query, partial(_with_decay, _draw_delta_rule)),
        Recurrence(
            "linear_attention_decay",
            ops.linear_attention,
            ops.linear_attention_query,
            partial(_with_decay, _draw_linear_attention),
        ),
    )
}


def draw(recurrence: Recurrence, sizes: Sizes, seed: int = 0) -> Inputs:
    """Every input, the carried state included, float32: standard normal inputs, weights and states of the usual scale."""
    return recurrence.draw(sizes, torch.Generator().manual_seed(seed))


def draw_flags(sizes: Sizes, seed: int = 0, *, resets: float = 0.1, masked: float = 0.2) -> Inputs:
    """Resets and a mask, each flag drawn with its own probability."""
    generator = torch.Generator().manual_seed(1000 + seed)
    drawn = torch.rand(2, sizes.batch, sizes.steps, generator=generator)
    return {"resets": drawn[0] < resets, "mask": drawn[1] >= masked}


def output_gradients(y: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a loss that reads every output and the final state with random weights."""
    generator = torch.Generator().manual_seed(7)
    return tuple(torch.randn(a.shape, generator=generator).to(a) for a in (y, state))


def evaluate(
    recurrence: Recurrence, inputs: Inputs, flags: Inputs, *, backend: str, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """y, the final state, and the gradient for each input of a loss that reads both."""
    leaves = {name: a.detach().to(dtype).requires_grad_() for name, a in inputs.items()}
    y, state = recurrence.run(**leaves, **flags, backend=backend)
    pairs = zip((y, state), output_gradients(y, state), strict=True)
    outputs, weights = zip(*((out, grad) for out, grad in pairs if out.requires_grad), strict=True)
    grads = torch.autograd.grad(outputs, tuple(leaves.values()), weights, materialize_grads=True)
    named = {f"grad of {name}": grad for name, grad in zip(leaves, grads, strict=True)}
    return {"y": y.detach(), "state": state.detach(), **named}


def piece(recurrence: Recurrence, inputs: Inputs, steps: slice | Tensor) -> Inputs:
    """The inputs of some of the steps; what has no time axis stays."""
    return {name: a if name in ("weight", "state") else a[:, steps] for name, a in inputs.items()}


def relative_error(a: Tensor, b: Tensor) -> float:
    """‖a - b‖ / max(‖b‖, 1e-9), in float64."""
    a, b = a.double(), b.double()
    return ((a - b).norm() / b.norm().clamp_min(1e-9)).item()


def largest_error(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest relative error among the named tensors; NaN counts as infinite."""
    assert found.keys() == wanted.keys()
    errors = [relative_error(found[name], wanted[name]) for name in wanted]
    return max(float("inf") if error != error else error for error in errors)
