"""The Triton kernels on a GPU, against the float64 reference on the CPU, each twice: the second run gives the same bits."""

import pytest
import torch

from srwm.ops.gpu.availability import AVAILABLE

from ..conftest import ReportErrors
from ..exactness import compare
from ..exactness_cases import LONG, MEDIUM, SHORT, Case, inputs_of, reference
from ..recurrences import RECURRENCES, Sizes, evaluate

pytestmark = pytest.mark.skipif(not (AVAILABLE and torch.cuda.is_available()), reason="no GPU with Triton")

LONGEST = [Case(Sizes(1, steps, 1, e, e), "ragged") for steps in (3000, 10000) for e in (16, 64)]
CASES = [case for case in (*SHORT, *MEDIUM, *LONG, *LONGEST) if case.sizes.e <= 64 and case.sizes.d <= 64]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", RECURRENCES)
def test_exact_and_repeatable(name: str, case: Case, report_errors: ReportErrors) -> None:
    inputs, flags = ({key: a.cuda() for key, a in given.items()} for given in inputs_of(name, case))
    found, again = (evaluate(RECURRENCES[name], inputs, flags, backend="triton") for _ in range(2))
    for key, a in found.items():
        assert torch.equal(a, again[key]), key
    exact, loop = (reference(name, case, dtype) for dtype in (torch.float64, torch.float32))
    errors = compare({key: a.cpu() for key, a in found.items()}, loop, exact, steps=case.sizes.steps)
    report_errors(f"{name} {torch.cuda.get_device_name()}", errors)
    assert all(error.holds for error in errors), "\n".join(str(e) for e in errors if not e.holds)
