"""Backward restarts its rebuilding of W at saved copies: whatever resets and masks lie around them, gradients are exact."""

import functools

import pytest
import torch
from torch import Tensor

from srwm.ops.self_referential import outputs

from ..conftest import ReportErrors
from ..exactness import Error, compare
from ..recurrences import RECURRENCES, Inputs, Sizes, draw, draw_flags, evaluate

SRWM = RECURRENCES["srwm"]


def flags_around_copies(interval: int, steps: int) -> Inputs:
    """One sequence for each thing that can happen where W was copied, `interval` steps after the last copy."""
    copies = range(interval, steps, interval)

    def at(*offsets: int) -> Tensor:
        flags = torch.zeros(steps, dtype=torch.bool)
        flags[[c + offset for c in copies for offset in offsets if c + offset < steps]] = True
        return flags

    none, first = torch.zeros(steps, dtype=torch.bool), torch.arange(steps) < 3
    resets_and_padding = [
        (none, none),
        (at(0), none),
        (at(-1), none),
        (at(1), none),
        (at(-1, 0, 1), none),
        (none, first),  # every copy comes three positions later
        (at(0), first),
        (none, at(-1, 0, 1)),
        (at(0), at(0)),  # the reset lies in the padding
        (at(3), first),
        (first, torch.arange(steps) > interval + 1),  # nothing after the first copy
    ]
    resets, padding = zip(*resets_and_padding, strict=True)
    return {"resets": torch.stack(resets), "mask": ~torch.stack(padding)}


@functools.cache
def events(e: int) -> tuple[Inputs, Inputs]:
    interval = outputs.checkpoint_interval(e)
    steps = 2 * interval + 2 if e == 16 else interval + 3
    flags = flags_around_copies(interval, steps)
    if e == 64:  # a few of them: the reference is slow at this width
        flags = {name: flag[[1, 6, 8, 10]] for name, flag in flags.items()}
    return draw(SRWM, Sizes(len(flags["mask"]), steps, 1, e, e)), flags


@functools.cache
def reference_of_events(e: int, dtype: torch.dtype) -> dict[str, Tensor]:
    return evaluate(SRWM, *events(e), backend="reference", dtype=dtype)


@pytest.mark.parametrize("e", [16, 20, 64])
def test_events_around_a_copy(e: int, isa: str, report_errors: ReportErrors) -> None:
    inputs, flags = events(e)
    found = evaluate(SRWM, inputs, flags, backend="native")
    loop, exact = (reference_of_events(e, dtype) for dtype in (torch.float32, torch.float64))
    errors = compare(found, loop, exact, steps=inputs["x"].shape[1])
    report_errors(f"srwm {isa}", errors)
    assert all(error.holds for error in errors), "\n".join(str(e) for e in errors if not e.holds)


@pytest.mark.parametrize("interval", [1, 2, 5, 16])
@pytest.mark.parametrize("seed", range(3))
def test_copies_at_short_intervals(
    interval: int, seed: int, isa: str, report_errors: ReportErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "checkpoint_interval", lambda e: interval)
    sizes = Sizes(4, 43, 2, *((16, 16), (9, 21), (33, 7))[seed])
    flags = draw_flags(sizes, seed, resets=(0.0, 0.1, 0.4)[seed], masked=0.3)
    inputs = draw(SRWM, sizes, seed)
    errors = _errors(inputs, flags)
    report_errors(f"srwm {isa}", errors)
    assert all(error.holds for error in errors), "\n".join(str(e) for e in errors if not e.holds)


@pytest.mark.parametrize("steps", [256, 257, 512, 513])
def test_a_sequence_that_ends_at_a_copy(steps: int, native: str) -> None:
    sizes = Sizes(1, steps, 1, 16, 16)
    assert outputs.checkpoint_interval(sizes.e) == 256
    assert all(error.holds for error in _errors(draw(SRWM, sizes, seed=1), {}))


def _errors(inputs: Inputs, flags: Inputs) -> list[Error]:
    found = evaluate(SRWM, inputs, flags, backend="native")
    loop, exact = (evaluate(SRWM, inputs, flags, backend="reference", dtype=dtype) for dtype in (torch.float32, torch.float64))
    return compare(found, loop, exact, steps=inputs["x"].shape[1])
