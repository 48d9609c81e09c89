"""What is computed in which precision: y comes out as the inputs are, the state in full, gradients as their inputs."""

import pytest
import torch

from srwm import ops

from .recurrences import RECURRENCES, Inputs, Recurrence, Sizes, draw

SIZES = Sizes(2, 6, 2, 16, 16)
SMALL = (torch.bfloat16, torch.float16)


def _cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    return {name: a.to(dtype) for name, a in inputs.items()}


@pytest.mark.parametrize("dtype", SMALL)
def test_small_dtypes_are_computed_in_float32(recurrence: Recurrence, backend: str, dtype: torch.dtype) -> None:
    inputs = _cast(draw(recurrence, SIZES), dtype)
    leaves = {name: a.requires_grad_() for name, a in inputs.items()}
    wide = {name: a.detach().float().requires_grad_() for name, a in inputs.items()}
    y, state = recurrence.run(**leaves, backend=backend)
    wide_y, wide_state = recurrence.run(**wide, backend=backend)
    assert (y.dtype, state.dtype) == (dtype, torch.float32)
    assert torch.equal(y, wide_y.to(dtype))
    assert torch.equal(state, wide_state)

    grads = torch.autograd.grad((y.float().sum() + state.sum()), list(leaves.values()))
    wide_grads = torch.autograd.grad((wide_y.sum() + wide_state.sum()), list(wide.values()))
    for grad, wide_grad in zip(grads, wide_grads, strict=True):
        assert grad.dtype is dtype
        assert torch.equal(grad, wide_grad.to(dtype))


def test_doubles_are_computed_in_float64(recurrence: Recurrence) -> None:
    inputs = _cast(draw(recurrence, SIZES), torch.float64)
    leaves = {name: a.requires_grad_() for name, a in inputs.items()}
    y, state = recurrence.run(**leaves)
    single_y, _ = recurrence.run(**_cast(inputs, torch.float32), backend="reference")
    assert (y.dtype, state.dtype) == (torch.float64, torch.float64)
    assert not torch.equal(y, single_y.double())
    torch.testing.assert_close(y.float(), single_y, rtol=1e-4, atol=1e-5)
    for grad in torch.autograd.grad(y.sum() + state.sum(), list(leaves.values())):
        assert grad.dtype is torch.float64


def test_y_has_the_dtype_of_the_first_input(recurrence: Recurrence, backend: str) -> None:
    """Small inputs with a float32 weight or state, as autocast makes them."""
    for dtype in (*SMALL, torch.float32):
        inputs = draw(recurrence, SIZES)
        first = next(iter(inputs))
        inputs[first] = inputs[first].to(dtype)
        y, state = recurrence.run(**inputs, backend=backend)
        assert (y.dtype, state.dtype) == (dtype, torch.float32)
        assert recurrence.query(**inputs).dtype is dtype


@pytest.mark.parametrize("dtype", SMALL)
def test_autocast_changes_nothing(recurrence: Recurrence, backend: str, dtype: torch.dtype) -> None:
    """Outputs of steps and queries and their gradients have the bits and dtypes that they have without."""
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, SIZES).items()}

    def outputs() -> tuple[torch.Tensor, ...]:
        return *recurrence.run(**inputs, backend=backend), recurrence.query(**inputs)

    with torch.autocast("cpu", dtype=dtype):
        cast = outputs()
    plain = outputs()
    for a, b in zip(cast, plain, strict=True):
        assert a.dtype is torch.float32
        assert torch.equal(a, b)
    grads = (torch.autograd.grad(sum(a.square().sum() for a in given), list(inputs.values())) for given in (cast, plain))
    for a, b in zip(*grads, strict=True):
        assert torch.equal(a, b)


def test_autocast_by_a_layer_before(backend: str) -> None:
    """x comes out of an autocast product in bfloat16, the weight is float32."""
    inputs = {name: a.requires_grad_() for name, a in draw(RECURRENCES["srwm"], SIZES).items()}
    projection = torch.eye(16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = inputs["x"] @ projection
        y, shift = ops.srwm(x, inputs["weight"], inputs["state"], backend=backend)
    assert (x.dtype, y.dtype, shift.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    grads = torch.autograd.grad(y.sum() + shift.sum(), [projection, *inputs.values()])
    assert {grad.dtype for grad in grads} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float64_does_not_mix(recurrence: Recurrence, dtype: torch.dtype) -> None:
    """One input in another dtype, whichever it is, is an error that names it."""
    for name in draw(recurrence, SIZES):
        inputs = _cast(draw(recurrence, SIZES), torch.float64)
        inputs[name] = inputs[name].to(dtype)
        for function in (recurrence.run, recurrence.query):
            with pytest.raises(ValueError, match=rf"^{name}: expected torch.float64 as \w+ has, got {dtype}"):
                function(**inputs)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_only_floating_dtypes(recurrence: Recurrence, dtype: torch.dtype) -> None:
    for name in draw(recurrence, SIZES):
        inputs = draw(recurrence, SIZES)
        inputs[name] = inputs[name].to(dtype)
        for function in (recurrence.run, recurrence.query):
            with pytest.raises(ValueError, match=f"^{name}: expected a floating dtype, got {dtype}"):
                function(**inputs)
