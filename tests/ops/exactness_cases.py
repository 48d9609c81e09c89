"""Draws on which kernels are held against the float64 reference, beside the float32 loop's own error."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .exactness import Error, compare
from .recurrences import RECURRENCES, Inputs, Sizes, draw, draw_flags, evaluate

WIDTHS = (1, 3, 16, 17, 32, 63, 64, 100, 128)
KINDS = ("fresh", "carried", "resets", "ragged")


class Case(NamedTuple):
    sizes: Sizes
    kind: str  # what comes with the inputs: nothing, a state, a state and resets, these and a mask

    def __str__(self) -> str:
        return "x".join(map(str, self.sizes)) + f"-{self.kind}"


def _short(e: int, number: int) -> list[Case]:
    """Short sequences at one width, all kinds, with outputs as wide as the inputs and not."""
    shapes = ((3, 1, 2, e), (1, 2, 3, 2 * e + 3), (2, 7, 2, e), (2, 40, 1, (e + 1) // 2))
    return [Case(Sizes(b, t, h, e, d), KINDS[(i + number) % 4]) for i, (b, t, h, d) in enumerate(shapes)]


SHORT = [case for number, e in enumerate(WIDTHS) for turn in (0, 2) for case in _short(e, number + turn)]
ONE_VECTOR = [case for e in (4, 8) for turn in (0, 2) for case in _short(e, turn)]  # of the smaller instruction sets, as 16 is
MEDIUM = [Case(Sizes(2, 300, 1, e, e), "ragged" if e % 2 else "carried") for e in WIDTHS if e <= 64]
MEDIUM += [Case(Sizes(1, 300, 1, 16, 16), "fresh"), Case(Sizes(1, 300, 1, 100, 20), "resets")]
LONG = [Case(Sizes(1, 1000, 1, e, e), "fresh") for e in (3, 16, 64)]
LONG += [Case(Sizes(1, 1000, 2, 16, 16), "ragged"), Case(Sizes(1, 1000, 1, 64, 64), "resets")]
LONGEST = [Case(Sizes(1, 1000, 1, e, e + (e % 2)), kind) for e in WIDTHS for kind in KINDS]


def inputs_of(name: str, case: Case) -> tuple[Inputs, Inputs]:
    recurrence = RECURRENCES[name]
    inputs = draw(recurrence, case.sizes, seed=sum(case.sizes))
    flags = draw_flags(case.sizes, seed=sum(case.sizes))
    if case.kind == "fresh":
        del inputs["state"]
    if case.kind != "ragged":
        del flags["mask"]
    if case.kind in ("fresh", "carried"):
        del flags["resets"]
    return inputs, flags


@functools.cache
def reference(name: str, case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    return evaluate(RECURRENCES[name], *inputs_of(name, case), backend="reference", dtype=dtype)


def check(name: str, case: Case, isa: str, report_errors: Callable[[str, list[Error]], None]) -> None:
    """Assert that the native kernels hold on a draw."""
    found = evaluate(RECURRENCES[name], *inputs_of(name, case), backend="native")
    exact, loop = (reference(name, case, dtype) for dtype in (torch.float64, torch.float32))
    errors = compare(found, loop, exact, steps=case.sizes.steps)
    report_errors(f"{name} {isa}", errors)
    assert all(error.holds for error in errors), "\n".join(str(e) for e in errors if not e.holds)
