"""The chunked form: equal to the reference in float64, exact in float32, chosen where no kernel runs."""

import pytest
import torch

from srwm.ops import srwm
from srwm.ops.fast_weights import chunked

from ..conftest import ReportErrors
from ..exactness import compare
from ..exactness_cases import Case, inputs_of, reference
from ..recurrences import RECURRENCES, Sizes, draw, draw_flags, evaluate, largest_error

FAST_WEIGHTS = [name for name in RECURRENCES if name != "srwm"]
SHAPES = (Sizes(2, 1, 2, 3, 5), Sizes(2, 16, 1, 4, 4), Sizes(1, 33, 2, 5, 3), Sizes(2, 70, 2, 16, 16))
KINDS = ("fresh", "carried", "resets", "ragged")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SHAPES, ids=str)
@pytest.mark.parametrize("name", FAST_WEIGHTS)
def test_float64_is_the_reference(name: str, sizes: Sizes, kind: str) -> None:
    inputs = inputs_of(name, Case(sizes, kind))
    found = evaluate(RECURRENCES[name], *inputs, backend="chunked", dtype=torch.float64)
    assert largest_error(found, reference(name, Case(sizes, kind), torch.float64)) < 1e-13


@pytest.mark.parametrize("case", [Case(Sizes(2, 100, 2, e, e), kind) for e in (3, 16, 64) for kind in KINDS], ids=str)
@pytest.mark.parametrize("name", FAST_WEIGHTS)
def test_float32_is_exact(name: str, case: Case, report_errors: ReportErrors) -> None:
    found = evaluate(RECURRENCES[name], *inputs_of(name, case), backend="chunked")
    exact, loop = (reference(name, case, dtype) for dtype in (torch.float64, torch.float32))
    errors = compare(found, loop, exact, steps=case.sizes.steps)
    report_errors(f"{name} chunked", errors)
    assert all(error.holds for error in errors), "\n".join(str(e) for e in errors if not e.holds)


@pytest.mark.parametrize("name", FAST_WEIGHTS)
def test_a_decay_of_zero_forgets_and_has_a_gradient(name: str) -> None:
    recurrence, sizes = RECURRENCES[name], Sizes(1, 20, 1, 3, 3)
    inputs = {**draw(recurrence, sizes), "decay": torch.rand(1, 20, 1).round()}
    wanted = evaluate(recurrence, inputs, {}, backend="reference", dtype=torch.float64)
    found = evaluate(recurrence, inputs, {}, backend="chunked", dtype=torch.float64)
    assert largest_error(found, wanted) < 1e-13


@pytest.mark.parametrize("name", ["delta_rule_decay", "linear_attention"])
def test_gradients_of_gradients(name: str) -> None:
    recurrence, sizes = RECURRENCES[name], Sizes(1, 18, 1, 2, 2)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes)
    leaves = [a.double().requires_grad_() for a in inputs.values()]

    def run(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return recurrence.run(**dict(zip(inputs, given, strict=True)), **flags, backend="chunked")

    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize(("steps", "serves"), [(3, False), (4, True)])
def test_it_serves_where_no_kernel_runs(steps: int, serves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    form = chunked.fast_weights
    monkeypatch.setattr(chunked, "fast_weights", lambda *given: (calls.append(1), form(*given))[1])
    recurrence = RECURRENCES["delta_rule"]
    recurrence.run(**{name: a.double() for name, a in draw(recurrence, Sizes(1, steps, 1, 2, 2)).items()})
    assert bool(calls) == serves


def test_no_step_leaves_the_state() -> None:
    recurrence = RECURRENCES["delta_rule"]
    inputs = draw(recurrence, Sizes(2, 0, 1, 3, 4))
    y, state = recurrence.run(**inputs, backend="chunked")
    assert y.shape == (2, 0, 1, 4)
    assert torch.equal(state, inputs["state"])


def test_srwm_has_no_such_form() -> None:
    with pytest.raises(ValueError, match=r"^backend: 'chunked' serves delta_rule and linear_attention"):
        srwm(torch.randn(1, 2, 1, 3), torch.randn(1, 3, 11), backend="chunked")
