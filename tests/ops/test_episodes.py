"""Resets, padding and pieces: cutting a sequence up in any way gives what the whole gives."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from .recurrences import Inputs, Recurrence, Sizes, draw, draw_flags, evaluate, largest_error, piece

SIZES = Sizes(2, 12, 2, 5, 7)


def _cat(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, 1)


@pytest.mark.parametrize("cuts", [(0, 12), (0, 5, 12), (0, 1, 2, 11, 12), tuple(range(13)), (0, 6, 6, 12)], ids=str)
def test_pieces_are_the_whole(recurrence: Recurrence, backend: str, cuts: tuple[int, ...]) -> None:
    """Outputs, the final state, and every gradient, which runs back through the states between the pieces."""
    inputs, flags = draw(recurrence, SIZES), draw_flags(SIZES)
    leaves = {name: a.requires_grad_() for name, a in inputs.items()}
    ys, state = [], leaves["state"]
    for start, end in pairwise(cuts):
        part = piece(recurrence, leaves, slice(start, end)) | {"state": state}
        y, state = recurrence.run(**part, **{name: flag[:, start:end] for name, flag in flags.items()}, backend=backend)
        ys.append(y)
    whole_y, whole_state = recurrence.run(**leaves, **flags, backend=backend)
    torch.testing.assert_close(_cat(ys), whole_y, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state, whole_state, rtol=1e-5, atol=1e-6)

    def gradients(y: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((y.square().sum() + state.square().sum()), list(leaves.values()))

    torch.testing.assert_close(gradients(_cat(ys), state), gradients(whole_y, whole_state), rtol=1e-4, atol=1e-5)


def test_a_reset_begins_a_sequence_of_its_own(recurrence: Recurrence, backend: str) -> None:
    """The steps after a reset give what they give alone, without a state; the steps before it what they give alone."""
    sizes = SIZES._replace(batch=1)
    inputs = draw(recurrence, sizes)
    resets = torch.zeros(1, 12, dtype=torch.bool)
    resets[0, [4, 5, 9]] = True
    y, state = recurrence.run(**inputs, resets=resets, backend=backend)
    ys = []
    carried: Inputs = {"state": inputs["state"]}
    for start, end in [(0, 4), (4, 5), (5, 9), (9, 12)]:
        part = piece(recurrence, inputs, slice(start, end))
        del part["state"]
        segment_y, segment_state = recurrence.run(**part, **carried, backend=backend)
        ys.append(segment_y)
        carried = {}
    torch.testing.assert_close(y, _cat(ys), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state, segment_state, rtol=1e-5, atol=1e-6)


def test_no_gradient_passes_a_reset(recurrence: Recurrence, backend: str) -> None:
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, SIZES).items()}
    resets = torch.zeros(2, 12, dtype=torch.bool)
    resets[0, 6] = True
    y, state = recurrence.run(**inputs, resets=resets, backend=backend)
    written = [a for name, a in inputs.items() if name not in ("q", "weight", "state")]
    loss = y[:, 6:].square().sum() + state.square().sum()
    *grads, grad_state = torch.autograd.grad(loss, [*written, inputs["state"]])
    for grad in grads:
        assert not grad[0, :6].any()
        assert grad[0, 6:].any()
        assert grad[1, :6].any()
    assert not grad_state[0].any()
    assert grad_state[1].any()


def test_padding_is_as_if_it_were_not_there(recurrence: Recurrence, backend: str) -> None:
    """A padded sequence gives what its real steps give alone; nothing flows to the padding, whatever stands there."""
    sizes = SIZES._replace(batch=1)
    inputs = draw(recurrence, sizes)
    real = torch.tensor([2, 3, 5, 6, 7, 10])
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[0, real] = True
    for name, a in inputs.items():
        if name not in ("weight", "state"):
            a[:, ~mask[0]] = float("nan")
    padded = evaluate(recurrence, inputs, {"mask": mask}, backend=backend)
    assert not padded["y"][:, ~mask[0]].any()

    leaves = {name: a.detach().requires_grad_() for name, a in piece(recurrence, inputs, real).items()}
    y, state = recurrence.run(**leaves, backend=backend)
    torch.testing.assert_close(padded["y"][:, real], y.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(padded["state"], state.detach(), rtol=1e-5, atol=1e-6)
    for name, a in inputs.items():
        if name not in ("weight", "state"):
            grad = padded[f"grad of {name}"]
            assert not grad[:, ~mask[0]].any()
            assert torch.isfinite(grad).all()
            assert grad[:, real].any()
            assert grad.shape == a.shape


@pytest.mark.parametrize("where", ["before", "between", "after"])
def test_a_reset_in_the_padding_resets(recurrence: Recurrence, backend: str, where: str) -> None:
    sizes = Sizes(1, 6, 2, 4, 3)
    inputs = draw(recurrence, sizes)
    mask = torch.tensor([[False, True, False, True, True, False]])
    resets = torch.zeros(1, 6, dtype=torch.bool)
    resets[0, {"before": 0, "between": 2, "after": 5}[where]] = True
    moved = torch.zeros(1, 6, dtype=torch.bool)
    if where != "after":
        moved[0, {"before": 1, "between": 3}[where]] = True
        found = evaluate(recurrence, inputs, {"mask": mask, "resets": resets}, backend=backend)
        wanted = evaluate(recurrence, inputs, {"mask": mask, "resets": moved}, backend=backend)
        assert largest_error(found, wanted) < 1e-6
        return
    leaves = {name: a.requires_grad_() for name, a in inputs.items()}
    y, state = recurrence.run(**leaves, mask=mask, resets=resets, backend=backend)
    wanted_y, _ = recurrence.run(**leaves, mask=mask, backend=backend)
    assert torch.equal(y, wanted_y)
    assert not state.any()
    if state.requires_grad:
        grads = torch.autograd.grad(state.sum(), list(leaves.values()), materialize_grads=True)
        assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("step", [0, 3, 7])
@pytest.mark.parametrize("batch", [3, 5])
def test_nan_stays_in_its_sequence_and_head(recurrence: Recurrence, backend: str, batch: int, step: int) -> None:
    sizes = Sizes(batch, 8, 4, 5, 6)
    clean = draw(recurrence, sizes)
    first = next(iter(clean))
    broken = {name: a.clone() for name, a in clean.items()}
    broken[first][1, step, 2, 0] = float("nan")
    wanted = evaluate(recurrence, clean, {}, backend=backend)
    found = evaluate(recurrence, broken, {}, backend=backend)
    assert found["y"][1, step, 2].isnan().all()
    hit = torch.zeros(batch, 1, 4, 1, dtype=torch.bool)
    hit[1, :, 2] = True
    for name, value in found.items():
        if name == "grad of weight":
            elsewhere = torch.tensor([0, 1, 3])
            torch.testing.assert_close(value[elsewhere], wanted[name][elsewhere])
            continue
        has_steps = name not in ("state", "grad of state")
        place = hit[..., 0] if value.dim() == 3 else hit if has_steps else hit.transpose(1, 2)
        assert torch.isfinite(value[~place.expand_as(value)]).all()
        torch.testing.assert_close(value.masked_fill(place, 0), wanted[name].masked_fill(place, 0))


@pytest.mark.parametrize("d", [6, 20])
@pytest.mark.parametrize("seed", range(6))
def test_nan_appears_where_the_reference_has_it(recurrence: Recurrence, native: str, seed: int, d: int) -> None:
    """One NaN anywhere in any input, the weight and the carried state included, with resets behind it."""
    sizes = Sizes(2, 7, 3, 5, d)
    flags = draw_flags(sizes, seed, resets=0.2)
    for name in draw(recurrence, sizes, seed):
        inputs = draw(recurrence, sizes, seed)
        flat = inputs[name].view(-1)
        flat[(seed * 7919 + 31) % flat.numel()] = float("nan")
        y, state = recurrence.run(**inputs, **flags, backend=native)
        wanted_y, wanted_state = recurrence.run(**inputs, **flags, backend="reference")
        torch.testing.assert_close(y, wanted_y, equal_nan=True, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(state, wanted_state, equal_nan=True, rtol=1e-5, atol=1e-5)


def test_a_reset_leaves_nan_behind(recurrence: Recurrence, backend: str) -> None:
    inputs = draw(recurrence, SIZES)
    broken = {name: a.clone() for name, a in inputs.items()}
    broken[next(iter(inputs))][:, 2] = float("nan")
    broken["state"][1] = float("nan")
    resets = torch.zeros(2, 12, dtype=torch.bool)
    resets[:, 5] = True
    y, state = recurrence.run(**broken, resets=resets, backend=backend)
    wanted_y, wanted_state = recurrence.run(**inputs, resets=resets, backend=backend)
    assert y[:, 2].isnan().all()
    torch.testing.assert_close(y[:, 5:], wanted_y[:, 5:])
    torch.testing.assert_close(state, wanted_state)
