from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
from _pytest.mark import ParameterSet

from srwm.ops.cpu import library

from .exactness import Error
from .recurrences import RECURRENCES, Recurrence

NATIVE_MISSING = pytest.mark.skipif(library.LIBRARY is None, reason="the compiled library is not installed")
ERRORS = pytest.StashKey[dict[str, list[list[Error]]]]()
LINES = pytest.StashKey[list[str]]()

ReportErrors = Callable[[str, list[Error]], None]
ReportLine = Callable[[str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ERRORS] = defaultdict(list)
    config.stash[LINES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reported = config.stash[ERRORS]
    if not reported and not config.stash[LINES]:
        return
    terminalreporter.section("exactness against the float64 reference")
    for kernels, draws in sorted(reported.items()):
        all_errors = [error for errors in draws for error in errors]
        sound = [error for error in all_errors if error.qualifies]
        worse = [error for error in all_errors if not error.qualifies]
        line = f"{kernels}: {sum(all(e.qualifies for e in errors) for errors in draws)} of {len(draws)} draws qualify"
        if sound:
            worst = max(sound, key=lambda e: e.kernel / e.bound)
            line += f"; nearest to its bound {worst}"
        if worse:
            worst = max(worse, key=lambda e: e.kernel / e.loop)
            line += f"; worst beside the loop {worst}"
        terminalreporter.line(line)
    for line in config.stash[LINES]:
        terminalreporter.line(line)


@pytest.fixture
def report_errors(request: pytest.FixtureRequest) -> ReportErrors:
    """Notes the errors of one draw for the summary at the end."""
    reported = request.config.stash[ERRORS]

    def report(kernels: str, errors: list[Error]) -> None:
        reported[kernels].append(errors)
        print(kernels, *errors, sep="\n  ")

    return report


@pytest.fixture
def report_line(request: pytest.FixtureRequest) -> ReportLine:
    """Notes a line for the summary at the end."""
    return request.config.stash[LINES].append


def _instruction_sets() -> list[str | ParameterSet]:
    """Those that this machine runs, best first; from the second on only where the marker `all_isas` is not deselected."""
    names = [] if library.LIBRARY is None else library.LIBRARY.isa_names
    return [*names[:1], *(pytest.param(name, marks=pytest.mark.all_isas) for name in names[1:])]


@pytest.fixture(params=_instruction_sets())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every instruction set that this machine runs, in use during the test."""
    assert library.LIBRARY is not None
    before = library.LIBRARY.selected_isa
    library.LIBRARY.select_isa(request.param)
    yield request.param
    library.LIBRARY.select_isa(before)


@pytest.fixture(params=["reference", pytest.param("native", marks=NATIVE_MISSING)])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def native() -> str:
    """The name of the native backend; the test is skipped where it was not compiled."""
    if library.LIBRARY is None:
        pytest.skip("the compiled library is not installed")
    return "native"


@pytest.fixture(params=RECURRENCES)
def recurrence(request: pytest.FixtureRequest) -> Recurrence:
    return RECURRENCES[request.param]
