"""Under torch.compile a function of each operation is one graph, and gives what it gives without."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from .recurrences import RECURRENCES, Inputs, Recurrence, Sizes, draw, draw_flags

SIZES = Sizes(2, 6, 2, 5, 4)


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def model(recurrence: Recurrence, backend: str) -> Callable[[Inputs, Inputs], tuple[Tensor, ...]]:
    """Two calls with the state carried from one to the other, and a query to the state at the end."""

    def run(inputs: Inputs, flags: Inputs) -> tuple[Tensor, ...]:
        y, state = recurrence.run(**inputs, **flags, backend=backend)
        second, state = recurrence.run(**inputs | {"state": state.tanh()}, backend=backend)
        queried = recurrence.query(**inputs | {"state": state})
        return torch.cat((y, second.sigmoid()), 1), state, queried

    return run


def outputs_and_gradients(
    function: Callable[[Inputs, Inputs], tuple[Tensor, ...]], inputs: Inputs, flags: Inputs
) -> list[Tensor]:
    leaves = {name: a.clone().requires_grad_() for name, a in inputs.items()}
    outputs = function(leaves, flags)
    grads = torch.autograd.grad(sum(out.square().sum() for out in outputs), list(leaves.values()))
    return [*(out.detach() for out in outputs), *grads]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # by what inductor imports
@pytest.mark.parametrize("compiler", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_is_eager(recurrence: Recurrence, native: str, compiler: str) -> None:
    run = model(recurrence, native)
    inputs, flags = draw(recurrence, SIZES), draw_flags(SIZES)
    compiled = torch.compile(run, fullgraph=True, backend=compiler)
    wanted = outputs_and_gradients(run, inputs, flags)
    torch.testing.assert_close(outputs_and_gradients(compiled, inputs, flags), wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(list(compiled(inputs, flags)), wanted[:3], rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # test_dynamic_shapes.py trains layers of changing sizes
@pytest.mark.parametrize("name", ["srwm", "delta_rule"])
def test_sizes_that_change(name: str, native: str) -> None:
    """One dynamic graph serves other batch sizes and lengths."""
    recurrence = RECURRENCES[name]
    run = model(recurrence, native)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch, steps in ((2, 6), (3, 4)):
        sizes = Sizes(batch, steps, 2, 5, 4)
        inputs, flags = draw(recurrence, sizes), draw_flags(sizes)
        wanted = outputs_and_gradients(run, inputs, flags)
        torch.testing.assert_close(outputs_and_gradients(compiled, inputs, flags), wanted, rtol=1e-5, atol=1e-5)


def test_compiled_under_autocast(recurrence: Recurrence, native: str) -> None:
    run = model(recurrence, native)
    inputs, flags = draw(recurrence, SIZES), draw_flags(SIZES)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = compiled(inputs, flags)
    for a, b in zip(found, run(inputs, flags), strict=True):
        assert a.dtype is b.dtype
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", [name if name == "linear_attention" else pytest.param(name, marks=pytest.mark.slow) for name in RECURRENCES]
)
def test_the_reference_compiles(name: str) -> None:
    recurrence = RECURRENCES[name]
    run = model(recurrence, "reference")
    sizes = Sizes(2, 3, 1, 3, 2)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    wanted = outputs_and_gradients(run, inputs, flags)
    torch.testing.assert_close(outputs_and_gradients(compiled, inputs, flags), wanted, rtol=1e-5, atol=1e-5)
