"""Thousands of steps: rebuilding W backwards stays as exact as keeping every step, and nothing overflows."""

import statistics

import pytest
import torch
from torch import Tensor

from srwm import ops

from ..conftest import ReportLine
from ..recurrences import RECURRENCES, Inputs, Recurrence, Sizes, draw, evaluate, output_gradients, piece, relative_error

SEEDS = 10
PIECE = 250


def evaluate_in_pieces(recurrence: Recurrence, inputs: Inputs, dtype: torch.dtype) -> dict[str, Tensor]:
    """`evaluate` on the reference, with the graph of only one piece in memory at a time."""
    inputs = {name: a.to(dtype) for name, a in inputs.items()}
    steps = inputs["x"].shape[1]
    pieces = [slice(start, start + PIECE) for start in range(0, steps, PIECE)]
    states, ys = [inputs["state"]], []
    with torch.no_grad():
        for part in pieces:
            arguments = piece(recurrence, inputs, part) | {"state": states[-1]}
            y, state = recurrence.run(**arguments, backend="reference")
            ys.append(y)
            states.append(state)
    y, state = torch.cat(ys, 1), states.pop()
    grad_y, grad_state = output_gradients(y, state)
    grad_x, grad_weight = [], torch.zeros_like(inputs["weight"])
    for part, start in zip(reversed(pieces), reversed(states), strict=True):
        leaves = [a.detach().requires_grad_() for a in (inputs["x"][:, part], inputs["weight"], start)]
        outputs = recurrence.run(*leaves, backend="reference")
        grads = torch.autograd.grad(outputs, leaves, (grad_y[:, part], grad_state))
        grad_x.append(grads[0])
        grad_weight += grads[1]
        grad_state = grads[2]
    return {
        "y": y,
        "state": state,
        "grad of x": torch.cat(grad_x[::-1], 1),
        "grad of weight": grad_weight,
        "grad of state": grad_state,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("e", "steps"),
    [
        (16, 4000),
        (64, 4000),
        (16, 10_000),
        (64, 10_000),
    ],
)
def test_gradients_beside_the_loop(e: int, steps: int, native: str, report_line: ReportLine) -> None:
    """Over ten seeds, each a head of its own, the median error is within twice that of the float32 loop."""
    recurrence = RECURRENCES["srwm"]
    inputs = draw(recurrence, Sizes(1, steps, SEEDS, e, e), seed=e)
    found = evaluate(recurrence, inputs, {}, backend=native)
    loop, exact = (evaluate_in_pieces(recurrence, inputs, dtype) for dtype in (torch.float32, torch.float64))
    medians = {}
    for name, head_axis in {"x": 2, "weight": 0, "state": 1}.items():
        of_kernel, of_loop, wanted = (given[f"grad of {name}"].unbind(head_axis) for given in (found, loop, exact))
        medians[name] = [statistics.median(map(relative_error, by_head, wanted)) for by_head in (of_kernel, of_loop)]
    shown = ", ".join(f"{name} {kernel:.1e} (loop {loop:.1e})" for name, (kernel, loop) in medians.items())
    report_line(f"srwm over {steps} steps, E = {e}, median gradient errors of {SEEDS} seeds: {shown}")
    assert all(kernel <= 2 * loop for kernel, loop in medians.values()), shown


def test_a_hundred_thousand_steps(isa: str) -> None:
    inputs = draw(RECURRENCES["srwm"], Sizes(1, 100_000, 1, 64, 64))
    y, shift = ops.srwm(**inputs, backend="native")
    assert torch.isfinite(y).all()
    assert torch.isfinite(shift).all()
