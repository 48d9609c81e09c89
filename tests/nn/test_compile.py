"""torch.compile sees each layer as one graph and computes the same, gradients included."""

import shutil

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from srwm.nn import CORES, Layer, Stack, StackConfig, leaves, map_state

COMPILABLE = [name for name in CORES if name not in ("lstm", "gru", "recurrent_delta")]
STEPS = 2
SMALL = {"d_model": 8, "num_heads": 2, "num_layers": 1, "ff_factor": 2}


def leaf(part: Tensor) -> Tensor:
    return part.detach().requires_grad_(part.is_floating_point())


def results(run: Layer, stack: Stack) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, STEPS, 8, generator=generator, requires_grad=True)
    resets, mask = (torch.rand(2, STEPS, generator=generator) < chance for chance in (0.3, 0.8))
    state = map_state(leaf, stack(x.detach())[1])
    y, after = run(x, state, resets, mask)
    loss = sum((part.float().square().sum() for part in leaves(after)), y.square().sum())
    sources = [x, *(part for part in leaves(state) if part.requires_grad), *stack.parameters()]
    gradients = torch.autograd.grad(loss, sources, materialize_grads=True)
    return [y, *leaves(after), *gradients]


@pytest.fixture(autouse=True)
def fresh_compiler() -> None:
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("core", "carry"),
    [
        *(pytest.param(core, "always", marks=[] if core in ("srwm", "deltanet") else pytest.mark.slow) for core in COMPILABLE),
        pytest.param("srwm", "never", marks=pytest.mark.slow),
        ("deltanet", "unroll"),
    ],
)
def test_one_graph_same_numbers(core: str, carry: str) -> None:
    torch.manual_seed(0)
    stack = Stack(StackConfig(**SMALL, core=core, carry=carry, unroll_length=2 if carry == "unroll" else None))
    compiled = torch.compile(stack, fullgraph=True, backend="aot_eager")
    for ours, plain in zip(results(compiled, stack), results(stack, stack), strict=True):
        assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    query = torch.compile(stack.query, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 8)
    assert_close(query(x), stack.query(x), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "core", [core if core == "srwm" else pytest.param(core, marks=pytest.mark.slow) for core in COMPILABLE]
)
def test_inductor(core: str) -> None:
    torch.manual_seed(0)
    stack = Stack(StackConfig(**SMALL, core=core))
    compiled = torch.compile(stack, fullgraph=True)
    for ours, plain in zip(results(compiled, stack), results(stack, stack), strict=True):
        assert_close(ours, plain, rtol=1e-4, atol=1e-5)
