"""Any B, T, Q, H >= 0 and E, D >= 1: shapes, dtypes, dense memory or not, and both backends give the same."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from srwm.ops.cpu import library

from .recurrences import RECURRENCES, Inputs, Recurrence, Sizes, draw, draw_flags, evaluate, largest_error, piece

SIZES = st.builds(Sizes, st.integers(0, 3), st.integers(0, 6), st.integers(0, 3), st.integers(1, 20), st.integers(1, 20))
NATIVE = library.LIBRARY is not None
anything = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@given(st.sampled_from(list(RECURRENCES.values())), SIZES, st.integers(0, 99), st.booleans(), st.booleans(), st.booleans())
@anything
def test_any_size(
    recurrence: Recurrence, sizes: Sizes, seed: int, with_state: bool, with_resets: bool, with_mask: bool
) -> None:
    inputs, flags = draw(recurrence, sizes, seed), draw_flags(sizes, seed, resets=0.3, masked=0.3)
    state_shape = inputs["state"].shape
    flags = {name: flag for name, flag in flags.items() if {"resets": with_resets, "mask": with_mask}[name]}
    if not with_state and sizes.steps:  # without both, no output depends on the inputs
        del inputs["state"]

    wanted = evaluate(recurrence, inputs, flags, backend="reference", dtype=torch.float64)

    assert wanted["y"].shape == (sizes.batch, sizes.steps, sizes.heads, sizes.d)
    assert wanted["state"].shape == state_shape
    for name, a in inputs.items():
        assert wanted[f"grad of {name}"].shape == a.shape
    if NATIVE:
        found = evaluate(recurrence, inputs, flags, backend="native")
        assert {name: a.shape for name, a in found.items()} == {name: a.shape for name, a in wanted.items()}
        assert largest_error(found, wanted) < 3e-6


@given(st.sampled_from(list(RECURRENCES.values())), SIZES, st.integers(0, 99))
@anything
def test_any_number_of_questions(recurrence: Recurrence, sizes: Sizes, seed: int) -> None:
    """Each of the Q outputs is what a one-step call from the same state gives, and the state stays."""
    inputs = draw(recurrence, sizes, seed)
    before = inputs["state"].clone()
    queried = recurrence.query(**inputs)
    assert queried.shape == (sizes.batch, sizes.steps, sizes.heads, sizes.d)
    for i in range(sizes.steps):
        y, _ = recurrence.run(**piece(recurrence, inputs, slice(i, i + 1)), backend="native" if NATIVE else "reference")
        torch.testing.assert_close(queried[:, i : i + 1], y, rtol=1e-5, atol=2e-6)
    assert torch.equal(inputs["state"], before)


def test_no_steps_give_back_a_copy_of_the_state(recurrence: Recurrence, backend: str) -> None:
    inputs = draw(recurrence, Sizes(2, 0, 3, 4, 5))
    carried = inputs["state"]
    _, state = recurrence.run(**inputs, backend=backend)
    assert torch.equal(state, carried)
    state.add_(1)
    assert not torch.equal(state, carried)
    del inputs["state"]
    _, state = recurrence.run(**inputs, backend=backend)
    assert state.shape == carried.shape
    assert not state.any()


@pytest.mark.parametrize("masked", [False, True])
def test_nothing_to_compute_still_passes_gradients_to_the_state(recurrence: Recurrence, backend: str, masked: bool) -> None:
    """Without steps, or with padding alone, the state goes through, and so does its gradient."""
    sizes = Sizes(2, 3 if masked else 0, 2, 4, 5)
    flags = {"mask": torch.zeros(2, sizes.steps, dtype=torch.bool)}
    inputs = draw(recurrence, sizes)
    inputs["state"].requires_grad_()
    y, state = recurrence.run(**inputs, **flags, backend=backend)
    assert not y.any()
    assert torch.equal(state, inputs["state"])
    weights = torch.randn(state.shape, generator=torch.Generator().manual_seed(1))
    (grad,) = torch.autograd.grad(state, inputs["state"], weights)
    assert torch.equal(grad, weights)


def _strided(a: Tensor) -> Tensor:
    return torch.stack((a, torch.full_like(a, float("nan"))), -1)[..., 0]


def _permuted(a: Tensor) -> Tensor:
    return a.transpose(0, -1).contiguous().transpose(0, -1)


def _offset(a: Tensor) -> Tensor:
    """Dense, but one float away from where an allocator would put it."""
    return torch.cat((a.new_zeros(1), a.reshape(-1)))[1:].view(a.shape)


@pytest.mark.parametrize("layout", [_strided, _permuted, _offset])
def test_memory_layout_does_not_matter(recurrence: Recurrence, backend: str, layout: object) -> None:
    sizes = Sizes(3, 5, 2, 7, 4)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes)
    laid_out = {name: layout(a) for name, a in inputs.items()}
    flags_laid_out = {name: flag.T.contiguous().T for name, flag in flags.items()}
    wanted = evaluate(recurrence, inputs, flags, backend=backend)
    found = evaluate(recurrence, laid_out, flags_laid_out, backend=backend)
    assert largest_error(found, wanted) < 1e-6


def test_expanded_states_and_gradients(recurrence: Recurrence, backend: str) -> None:
    """One state for the whole batch, one mask for all sequences, and the gradient of a sum, which is expanded, too."""
    sizes = Sizes(3, 4, 2, 5, 6)
    inputs = draw(recurrence, sizes)
    one = inputs["state"][:1].clone()
    flags = {"mask": torch.tensor([True, False, True, True]).expand(3, 4)}
    dense_flags = {"mask": flags["mask"].contiguous()}

    def gradient(state: Tensor, flags: Inputs) -> tuple[Tensor, Tensor]:
        leaf = state.detach().requires_grad_()
        y, out = recurrence.run(**inputs | {"state": leaf.expand(3, -1, -1, -1)}, **flags, backend=backend)
        return y.detach(), torch.autograd.grad(y.sum() + out.sum(), leaf)[0]

    y, grad = gradient(one, flags)
    dense = {name: a.expand(3, -1, -1, -1).contiguous() if name == "state" else a for name, a in inputs.items()}
    dense["state"] = one.expand(3, -1, -1, -1).contiguous().requires_grad_()
    dense_y, dense_state = recurrence.run(**dense, **dense_flags, backend=backend)
    (dense_grad,) = torch.autograd.grad(dense_y.sum() + dense_state.sum(), dense["state"])
    torch.testing.assert_close(y, dense_y.detach())
    torch.testing.assert_close(grad, dense_grad.sum(0, keepdim=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_nothing_passed_in_is_changed_or_given_back(recurrence: Recurrence, backend: str, steps: int) -> None:
    sizes = Sizes(2, steps, 2, 16, 16)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes)
    given = [a.requires_grad_() for a in inputs.values()] + list(flags.values())
    copies = [a.detach().clone() for a in given]
    y, state = recurrence.run(**inputs, **flags, backend=backend)
    queried = recurrence.query(**inputs)
    outputs = [a for a in (y, state) if a.requires_grad]
    weights = [torch.ones_like(a) for a in outputs]
    grads = torch.autograd.grad(outputs, list(inputs.values()), weights, materialize_grads=True)

    for before, now in zip(copies, given, strict=True):
        assert torch.equal(before, now)
        assert now._version == 0
    results = [a for a in (y, state, queried, *grads) if a.numel()]
    places = [a.untyped_storage().data_ptr() for a in (*results, *given) if a.numel()]
    assert len(set(places)) == len(places)
