"""Which backend runs: "auto" chooses, a named one runs or raises, and a missing library causes one warning."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from srwm.ops import backend as backends
from srwm.ops.cpu import library
from srwm.ops.fast_weights import reference as fast_weights
from srwm.ops.self_referential import reference as self_referential

from .recurrences import Recurrence, Sizes, draw

SIZES = Sizes(2, 3, 2, 4, 5)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    missing, reason = library.load(Path("no such file"))
    monkeypatch.setattr(library, "LIBRARY", missing)
    monkeypatch.setattr(library, "MISSING", reason)
    backends._warn_once.cache_clear()
    yield
    backends._warn_once.cache_clear()


@pytest.fixture
def no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("the reference ran")

    monkeypatch.setattr(self_referential, "srwm", fail)
    monkeypatch.setattr(fast_weights, "fast_weights", fail)


@pytest.mark.usefixtures("no_reference")
@pytest.mark.parametrize("backend", ["auto", "native"])
@pytest.mark.parametrize("differentiable", [False, True])
def test_native_kernels_run(recurrence: Recurrence, native: str, backend: str, differentiable: bool) -> None:
    """For float32 on the CPU, forward and backward, nothing falls back on the reference."""
    inputs = {name: a.requires_grad_(differentiable) for name, a in draw(recurrence, SIZES).items()}
    y, state = recurrence.run(**inputs, backend=backend)
    if differentiable:
        torch.autograd.grad(y.sum() + state.sum(), list(inputs.values()))


def test_the_reference_runs_by_name(recurrence: Recurrence, no_reference: None) -> None:
    with pytest.raises(AssertionError, match="the reference ran"):
        recurrence.run(**draw(recurrence, SIZES), backend="reference")


def test_float64_runs_on_the_reference(recurrence: Recurrence, native: str) -> None:
    inputs = {name: a.double() for name, a in draw(recurrence, SIZES).items()}
    y, _ = recurrence.run(**inputs)
    assert torch.equal(y, recurrence.run(**inputs, backend="reference")[0])
    with pytest.raises(ValueError, match=r"^backend: 'native' computes float32 on the CPU, got torch.float64 on cpu$"):
        recurrence.run(**inputs, backend=native)


def test_another_device_runs_on_the_reference(recurrence: Recurrence) -> None:
    inputs = {name: a.to("meta") for name, a in draw(recurrence, SIZES).items()}
    y, state = recurrence.run(**inputs)
    assert (y.device.type, y.shape) == ("meta", (2, 3, 2, 5))
    assert (state.device.type, state.shape) == ("meta", inputs["state"].shape)
    with pytest.raises(ValueError, match=r"^backend: 'native' computes float32 on the CPU, got torch.float32 on meta$"):
        recurrence.run(**inputs, backend="native")


@pytest.mark.usefixtures("no_library")
def test_a_missing_library_is_an_error_by_name(recurrence: Recurrence) -> None:
    with pytest.raises(RuntimeError, match=r"^backend: 'native' needs the compiled library"):
        recurrence.run(**draw(recurrence, SIZES), backend="native")


@pytest.mark.usefixtures("no_library")
def test_a_missing_library_is_one_warning(recurrence: Recurrence) -> None:
    """However often "auto" is called; named backends and float64 say nothing."""
    inputs = draw(recurrence, SIZES)
    wanted = recurrence.run(**inputs, backend="reference")
    recurrence.run(**{name: a.double() for name, a in inputs.items()})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [recurrence.run(**inputs) for _ in range(3)]
    assert [w.category for w in caught] == [RuntimeWarning]
    assert "without its compiled library" in str(caught[0].message)
    for y, state in results:
        assert torch.equal(y, wanted[0])
        assert torch.equal(state, wanted[1])


def test_a_library_that_cannot_be_loaded_is_none_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "other.so").write_bytes(b"no library")
    missing, reason = library.load(tmp_path / "other.so")
    assert missing is None
    assert re.match(r"the compiled library of srwm cannot be loaded \(.*other\.so", reason)


def test_inference_keeps_nothing(recurrence: Recurrence, native: str) -> None:
    """Without gradients, by no_grad or because no input asks for them, no graph and no rows for backward are made."""
    inputs = draw(recurrence, SIZES)
    results = [*recurrence.run(**inputs, backend=native)]
    asking = {name: a.requires_grad_() for name, a in inputs.items()}
    with torch.no_grad():
        results += recurrence.run(**asking, backend=native)
    assert all(a.grad_fn is None for a in results)


def test_inference_and_training_agree(recurrence: Recurrence, native: str) -> None:
    inputs = draw(recurrence, Sizes(2, 40, 2, 16, 16))
    asking = {name: a.clone().requires_grad_() for name, a in inputs.items()}
    for plain, kept in zip(recurrence.run(**inputs, backend=native), recurrence.run(**asking, backend=native), strict=True):
        assert torch.equal(plain, kept)


def test_an_unknown_instruction_set() -> None:
    if library.LIBRARY is None:
        pytest.skip("the compiled library is not installed")
    before = library.LIBRARY.selected_isa
    with pytest.raises(ValueError, match=r"^SRWM_ISA: expected one of .*baseline, got 'mmx'$"):
        library.LIBRARY.select_isa("mmx")
    assert library.LIBRARY.selected_isa == before


@pytest.mark.usefixtures("no_library")
def test_kernels_of_another_device_do_without_the_library_of_the_cpu() -> None:
    assert backends.takes_kernels("auto", True, "cuda")
    assert backends.takes_kernels("native", True, "cuda")
    assert not backends.takes_kernels("auto", True, "cpu")
    with pytest.raises(RuntimeError, match="needs the compiled library"):
        backends.takes_kernels("native", True, "cpu")
