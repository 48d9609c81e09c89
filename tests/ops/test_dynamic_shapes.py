"""Sizes that a compiler or an exporter keeps open: kernels and their fakes never see a symbolic one."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srwm.nn import SRWM, DeltaNet, LinearTransformer, SRDelta
from srwm.ops import pooling

from .conftest import NATIVE_MISSING
from .recurrences import RECURRENCES, Recurrence, Sizes, draw, draw_flags

LAYERS = {"SRWM": SRWM, "SRDelta": SRDelta, "DeltaNet": DeltaNet, "LinearTransformer": LinearTransformer}
pytestmark = NATIVE_MISSING


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return LAYERS[request.param](32, 4)


def draw_x(batch: int, steps: int = 6) -> Tensor:
    return torch.randn(batch, steps, 32, generator=torch.Generator().manual_seed(batch))


def results(run: Any, layer: nn.Module, x: Tensor) -> list[Tensor]:
    """y and every gradient."""
    x = x.clone().requires_grad_()
    y, _ = run(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])]


def assert_trains_as_eager(compiled: Any, layer: nn.Module, x: Tensor) -> None:
    for found, wanted in zip(results(compiled, layer, x), results(layer, layer, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamic", [None, pytest.param(True, marks=pytest.mark.slow)])
def test_a_compiled_layer_trains_at_the_second_batch_size(layer: nn.Module, dynamic: bool | None) -> None:
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch, steps in ((8, 6), (5, 6), (3, 4)):
        assert_trains_as_eager(compiled, layer, draw_x(batch, steps))


def test_a_batch_axis_that_is_marked_dynamic(layer: nn.Module) -> None:
    """One graph serves every batch size: marking raises where a size was made a constant."""
    torch.set_num_threads(2)
    compilations = []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        compilations.append(graph)
        return graph

    compiled = torch.compile(layer, fullgraph=True, backend=count)
    for batch in (8, 5, 2, 40):
        x = draw_x(batch)
        torch._dynamo.mark_dynamic(x, 0)
        torch.testing.assert_close(compiled(x)[0], layer(x)[0], rtol=1e-4, atol=1e-5)
    assert len(compilations) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_inductor_at_the_second_batch_size(layer: nn.Module) -> None:
    compiled = torch.compile(layer, fullgraph=True)
    for batch in (8, 5, 3):
        assert_trains_as_eager(compiled, layer, draw_x(batch))


@pytest.mark.parametrize("training", [False, True])
def test_an_exported_layer_takes_any_batch_and_length(layer: nn.Module, training: bool) -> None:
    shapes = {"x": {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps", max=256)}}
    with torch.set_grad_enabled(training):
        program = torch.export.export(layer, (), {"x": draw_x(8)}, dynamic_shapes=shapes)
    for batch, steps in ((8, 6), (5, 6), (3, 40)):
        x = draw_x(batch, steps)
        torch.testing.assert_close(program.module()(x=x)[0], layer(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flagged", [False, True])
@pytest.mark.parametrize(
    "sizes",
    [Sizes(3, 5, 4, 8, 8), pytest.param(Sizes(2, 3, 8, 16, 16), marks=pytest.mark.slow), Sizes(2, 4, 2, 20, 7)],
    ids=str,
)
def test_operators_with_dynamic_shapes(recurrence: Recurrence, sizes: Sizes, flagged: bool) -> None:
    """Where heads are taken in groups, and where they are not; forward and backward."""
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, sizes).items()}
    names = ("x", "weight", "state") if recurrence.name == "srwm" else ("q", "k", "v", "beta", "decay", "state")
    flags = draw_flags(sizes).values() if flagged else (None, None)
    kind = "self_referential" if recurrence.name == "srwm" else "fast_weights"
    operator = getattr(torch.ops.srwm, f"{kind}_training").default
    found = torch.library.opcheck(
        operator, (*(inputs.get(name) for name in names), *flags), test_utils=("test_faketensor", "test_aot_dispatch_dynamic")
    )
    assert set(found.values()) == {"SUCCESS"}


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_one_compiled_graph_serves_any_number_of_threads(threads: int) -> None:
    """Traced with one thread: which way the heads are taken is a matter of the call."""
    recurrence, sizes = RECURRENCES["srwm"], Sizes(1, 20, 8, 16, 16)
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, sizes).items()}
    compiled = torch.compile(recurrence.run, fullgraph=True, backend="aot_eager")

    def gradients(run: Any) -> tuple[Tensor, ...]:
        y, state = run(**inputs, backend="native")
        return torch.autograd.grad(y.square().sum() + state.square().sum(), list(inputs.values()))

    torch.set_num_threads(1)
    gradients(compiled)
    torch.set_num_threads(threads)
    for found, wanted in zip(gradients(compiled), gradients(recurrence.run), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


class _Pools(nn.Module):
    def __init__(self, backend: str) -> None:
        super().__init__()
        self.backend = backend
        self.weight, self.bias = nn.Parameter(torch.rand(16) + 0.5), nn.Parameter(torch.zeros(16))

    def forward(self, images: Tensor) -> Tensor:
        y = pooling.max_pool(images, backend=self.backend)
        return pooling.norm_pool(y, self.weight, self.bias, backend=self.backend)


@pytest.mark.parametrize(
    ("backend", "dynamic"),
    [
        ("auto", None),
        ("native", True),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("auto", True), ("native", None))),
    ],
)
def test_pools_at_the_second_batch_size(backend: str, dynamic: bool | None) -> None:
    module = _Pools(backend)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for batch, size in ((4, 9), (3, 9), (5, 12)):
        images = torch.randn(batch, 16, size, size, generator=torch.Generator().manual_seed(batch)).requires_grad_()
        leaves = [images, *module.parameters()]
        grads = [torch.autograd.grad(run(images).square().sum(), leaves) for run in (compiled, module)]
        for found, wanted in zip(*grads, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_pools_with_a_batch_axis_that_is_marked_dynamic() -> None:
    module = _Pools("native")
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for batch in (4, 3, 7):
        images = torch.randn(batch, 16, 9, 9)
        torch._dynamo.mark_dynamic(images, 0)
        torch.testing.assert_close(compiled(images), module(images))
    x = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(module, (), {"images": torch.randn(4, 16, 9, 9)}, dynamic_shapes=x)
    images = torch.randn(6, 16, 9, 9)
    torch.testing.assert_close(program.module()(images=images), module(images))
