"""Kernels against the float64 reference over a thousand steps."""

import pytest

from .conftest import ReportErrors
from .exactness_cases import LONGEST, Case, check
from .recurrences import RECURRENCES


@pytest.mark.slow
@pytest.mark.parametrize("case", LONGEST, ids=str)
@pytest.mark.parametrize("name", RECURRENCES)
def test_a_thousand_steps_at_every_width(name: str, case: Case, native: str, report_errors: ReportErrors) -> None:
    check(name, case, native, report_errors)
