"""Kernels against the float64 reference, in every instruction set, beside the float32 loop's own error."""

import pytest
import torch

from ..conftest import ReportErrors
from ..exactness import compare
from ..exactness_cases import LONG, MEDIUM, ONE_VECTOR, SHORT, Case, check
from ..recurrences import RECURRENCES, Sizes, draw, draw_flags, evaluate

FAST_WEIGHTS = [name for name in RECURRENCES if name != "srwm"]


@pytest.mark.parametrize("case", [*SHORT, *ONE_VECTOR, *MEDIUM[::2], *LONG[3:]], ids=str)
@pytest.mark.parametrize("name", FAST_WEIGHTS)
def test_fast_weights(name: str, case: Case, isa: str, report_errors: ReportErrors) -> None:
    check(name, case, isa, report_errors)


@pytest.mark.parametrize("e", [5, 16, 64])
@pytest.mark.parametrize("name", FAST_WEIGHTS)
def test_keys_of_the_elu_kind(name: str, e: int, isa: str, report_errors: ReportErrors) -> None:
    recurrence, sizes = RECURRENCES[name], Sizes(2, 120, 2, e, e)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes)
    for part in ("q", "k"):
        positive = torch.nn.functional.elu(inputs[part].log()) + 1
        inputs[part] = positive / positive.sum(-1, keepdim=True)
    found = evaluate(recurrence, inputs, flags, backend="native")
    exact, loop = (
        evaluate(recurrence, inputs, flags, backend="reference", dtype=dtype) for dtype in (torch.float64, torch.float32)
    )
    errors = compare(found, loop, exact, steps=sizes.steps)
    report_errors(f"{name} {isa}", errors)
    assert all(error.holds for error in errors), "\n".join(str(e) for e in errors if not e.holds)
