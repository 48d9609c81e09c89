"""Derivatives, first and higher: the reference by finite differences, the native kernels by the reference."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from srwm import ops
from srwm.ops.cpu import library
from srwm.ops.operators import OPERATORS as LIBRARY

from .recurrences import RECURRENCES, Inputs, Recurrence, Sizes, draw, draw_flags, output_gradients, relative_error

SIZES = Sizes(2, 5, 2, 3, 2)


def _function(recurrence: Recurrence, names: list[str], flags: Inputs) -> Callable[..., tuple[Tensor, Tensor]]:
    return lambda *tensors: recurrence.run(**dict(zip(names, tensors, strict=True)), **flags, backend="reference")


@pytest.mark.parametrize("flagged", [False, True])
def test_finite_differences(recurrence: Recurrence, flagged: bool) -> None:
    inputs = {name: a.double().requires_grad_() for name, a in draw(recurrence, SIZES).items()}
    flags = draw_flags(SIZES, resets=0.3) if flagged else {}
    function = _function(recurrence, list(inputs), flags)
    assert torch.autograd.gradcheck(function, tuple(inputs.values()), fast_mode=not flagged)
    assert torch.autograd.gradgradcheck(function, tuple(inputs.values()), fast_mode=True)


def test_finite_differences_of_a_query(recurrence: Recurrence) -> None:
    inputs = {name: a.double().requires_grad_() for name, a in draw(recurrence, SIZES).items()}

    def function(*tensors: Tensor) -> Tensor:
        return recurrence.query(**dict(zip(inputs, tensors, strict=True)))

    assert torch.autograd.gradcheck(function, tuple(inputs.values()))
    assert torch.autograd.gradgradcheck(function, tuple(inputs.values()), fast_mode=True)


def _derivatives(recurrence: Recurrence, inputs: Inputs, flags: Inputs, *, order: int, backend: str) -> list[Tensor]:
    """Derivatives of every order up to this one.

    The loss is not linear, so that the gradients of the outputs depend on the inputs, and the state comes out of an earlier
    call, so that it depends on them, too.
    """
    leaves = {name: a.detach().clone().requires_grad_() for name, a in inputs.items()}
    _, carried = recurrence.run(**leaves, **flags, backend=backend)
    y, state = recurrence.run(**leaves | {"state": carried}, **flags, backend=backend)
    value = y.square().sum() + state.square().sum() * 0.1
    found = []
    for level in range(order):
        grads = torch.autograd.grad(value, list(leaves.values()), create_graph=level + 1 < order)
        found += [grad.detach() for grad in grads]
        weights = [torch.randn(g.shape, generator=torch.Generator().manual_seed(i)) for i, g in enumerate(grads)]
        value = sum((grad * weight.to(grad.dtype)).sum() for grad, weight in zip(grads, weights, strict=True))
    return found


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize("order", [2, 3])
def test_higher_derivatives(recurrence: Recurrence, native: str, order: int, flagged: bool) -> None:
    sizes = Sizes(2, 5, 2, 4, 3)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes, seed=1) if flagged else {}
    found = _derivatives(recurrence, inputs, flags, order=order, backend=native)
    doubles = {name: a.double() for name, a in inputs.items()}
    wanted = _derivatives(recurrence, doubles, flags, order=order, backend="reference")
    assert len(found) == order * len(inputs)
    for a, b in zip(found, wanted, strict=True):
        assert b.any()
        assert relative_error(a, b) < 1e-5


def test_the_gradient_is_linear_in_what_comes_back(recurrence: Recurrence, native: str) -> None:
    """The derivative of a gradient for the gradient of the outputs: a forward-mode product, made of two backwards."""
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, SIZES).items()}
    y, state = recurrence.run(**inputs, backend=native)
    weights = [a.requires_grad_() for a in output_gradients(y, state)]
    grads = torch.autograd.grad((y, state), list(inputs.values()), weights, create_graph=True)
    directions = [torch.randn(a.shape, generator=torch.Generator().manual_seed(3)) for a in inputs.values()]
    products = torch.autograd.grad(grads, weights, directions)

    step = 1e-4
    doubles = {name: a.detach().double() for name, a in inputs.items()}
    ahead, behind = (
        recurrence.run(**{n: a + sign * step * d for (n, a), d in zip(doubles.items(), directions, strict=True)})
        for sign in (1, -1)
    )
    for product, plus, minus in zip(products, ahead, behind, strict=True):
        assert relative_error(product, (plus - minus) / (2 * step)) < 1e-5


@pytest.mark.parametrize("read", ["y", "state"])
def test_a_loss_on_one_output(recurrence: Recurrence, native: str, read: str) -> None:
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, SIZES).items()}
    doubles = {name: a.detach().double().requires_grad_() for name, a in inputs.items()}
    grads = []
    for leaves in (inputs, doubles):
        y, state = recurrence.run(**leaves)
        loss = (y if read == "y" else state).square().sum()
        grads.append(torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True))
    for name, found, wanted in zip(inputs, *grads, strict=True):
        assert relative_error(found, wanted) < 2e-6, name


def test_gradients_of_some_inputs(recurrence: Recurrence, native: str) -> None:
    """Each input alone asks for its gradient, and gets what it gets when all ask."""
    inputs = draw(recurrence, SIZES)

    def gradients(names: list[str]) -> tuple[Tensor, ...]:
        leaves = {name: a.clone().requires_grad_(name in names) for name, a in inputs.items()}
        y, state = recurrence.run(**leaves, backend=native)
        return torch.autograd.grad(y.square().sum() + state.sum(), [leaves[name] for name in names])

    for name, wanted in zip(inputs, gradients(list(inputs)), strict=True):
        assert torch.equal(gradients([name])[0], wanted)


def test_a_graph_can_be_used_twice(recurrence: Recurrence, native: str) -> None:
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, SIZES).items()}
    y, state = recurrence.run(**inputs, backend=native)
    first = torch.autograd.grad(y.sum() + state.sum(), list(inputs.values()), retain_graph=True)
    second = torch.autograd.grad(y.sum() + state.sum(), list(inputs.values()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def _samples(operator: str, steps: int) -> Iterator[tuple[Tensor | bool | None, ...]]:
    """Arguments for an operator, with all that is optional and without."""
    sizes = Sizes(2, steps, 2, 16, 8)
    kind, _, part = operator.rpartition("_")
    for name, recurrence in RECURRENCES.items():
        if (name == "srwm") != (kind == "self_referential"):
            continue
        inputs = draw(recurrence, sizes)
        tensors = [inputs.get(n) for n in (("x", "weight") if kind == "self_referential" else ("q", "k", "v", "beta", "decay"))]
        for state, flags in ((inputs["state"], draw_flags(sizes, resets=0.3).values()), (None, (None, None))):
            arguments = (*tensors, state, *flags)
            if part == "backward":
                y, out, *kept = getattr(torch.ops.srwm, f"{kind}_training")(*arguments)
                kept = [out, *kept, state is not None] if kind == "self_referential" else kept
                arguments = (torch.ones_like(y), None if state is None else torch.ones_like(out), *arguments, *kept)
            yield arguments


KINDS, PARTS = ("self_referential", "fast_weights"), ("inference", "training", "backward")
OPERATORS = [f"{kind}_{part}" for kind in KINDS for part in PARTS]


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_are_registered_correctly(operator: str, native: str) -> None:
    """Schema, autograd registration, shapes for tracing, and tracing with dynamic shapes."""
    for arguments in _samples(operator, steps=5):
        torch.library.opcheck(getattr(torch.ops.srwm, operator).default, arguments)


@pytest.mark.parametrize(
    "operator",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.endswith("backward") else name
        for name in OPERATORS
        if not name.endswith("inference")
    ],
)
def test_derivatives_are_registered_correctly(operator: str, native: str) -> None:
    """The same with inputs that ask for gradients; the derivative of a backward is traced through the reference."""
    for arguments in list(_samples(operator, steps=2))[::2]:  # with all that is optional
        asking = [a.clone().requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments]
        torch.library.opcheck(getattr(torch.ops.srwm, operator).default, tuple(asking))


def test_every_operator_is_checked() -> None:
    defined = {name.removeprefix("srwm::").split(".")[0] for name in LIBRARY._op_defs}
    # test_norm_pool.py and test_max_pool.py check these
    of_images = {f"norm_pool_{kind}" for kind in ("training", "backward")}
    of_images |= {f"max_pool_{kind}" for kind in ("training", "inference", "backward")}
    assert defined - of_images == set(OPERATORS)


def test_autocast_does_not_reach_second_derivatives(native: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 2, 4, generator=generator, requires_grad=True)
    weight = torch.randn(2, 4, 16, generator=generator).div(2).requires_grad_()

    def second() -> torch.Tensor:
        y, _ = ops.srwm(x, weight, backend=native)
        (gradient,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    with torch.autocast("cpu", torch.bfloat16):
        inside = second()
    torch.testing.assert_close(inside, second(), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of PyTorch's own forward-mode decompositions
def test_transforms_go_by_the_reference(recurrence: Recurrence) -> None:
    """torch.func and forward-mode derivatives: by "auto" those of the reference; a named native backend refuses them."""
    inputs = draw(recurrence, SIZES)
    names, values = list(inputs), tuple(inputs.values())

    def loss(*tensors: Tensor, backend: str = "auto") -> Tensor:
        y, state = recurrence.run(**dict(zip(names, tensors, strict=True)), backend=backend)
        return y.square().sum() + state.square().sum()

    leaves = [a.clone().requires_grad_() for a in values]
    wanted = torch.autograd.grad(loss(*leaves, backend="reference"), leaves)
    for a, b in zip(torch.func.grad(loss, tuple(range(len(names))))(*values), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    _, slope = torch.func.jvp(loss, values, tuple(map(torch.ones_like, values)))
    torch.testing.assert_close(slope, sum(grad.sum() for grad in wanted), rtol=1e-3, atol=1e-4)
    if library.LIBRARY is not None:
        with pytest.raises(RuntimeError, match="does not support"):
            torch.func.jvp(lambda *a: loss(*a, backend="native"), values, tuple(map(torch.ones_like, values)))
