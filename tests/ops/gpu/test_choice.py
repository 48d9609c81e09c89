"""On CUDA devices, without a GPU: which backend runs, and what operators and torch.compile make of fake tensors."""

import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from srwm import ops
from srwm.ops import backend as backends
from srwm.ops.gpu import availability

from ..recurrences import RECURRENCES, Inputs, Sizes, draw

NAMES = list(RECURRENCES)
SIZES = Sizes(2, 6, 2, 4, 5)
NO_STEPS = SIZES._replace(steps=0)  # a step of the reference does not run on fakes without a CUDA build


@pytest.fixture
def with_triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if Triton were installed; no kernel runs on fake tensors."""
    monkeypatch.setattr(availability, "AVAILABLE", True)
    backends._warn_of_triton_once.cache_clear()
    yield
    backends._warn_of_triton_once.cache_clear()


@pytest.fixture
def fakes() -> Iterator[FakeTensorMode]:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


def fake_inputs(name: str, sizes: Sizes = SIZES) -> Inputs:
    return {key: torch.empty(a.shape, device="cuda") for key, a in draw(RECURRENCES[name], sizes).items()}


@pytest.mark.usefixtures("with_triton", "fakes")
@pytest.mark.parametrize("name", NAMES)
def test_the_named_backend_calls_the_operator(name: str) -> None:
    y, state = RECURRENCES[name].run(**fake_inputs(name), backend="triton")
    assert (y.shape, y.device.type) == ((2, 6, 2, 5), "cuda")
    assert state.shape == fake_inputs(name)["state"].shape


@pytest.mark.usefixtures("fakes")
def test_results_of_training_and_backward_of_srwm() -> None:
    """Autograd itself needs a CUDA build even for fakes: the operators are called one after the other."""
    inputs = fake_inputs("srwm")
    results = torch.ops.srwm.self_referential_training(*inputs.values(), None, None)
    y, state, saved, copies = results
    grads = torch.ops.srwm.self_referential_backward(y, state, *inputs.values(), None, None, state, saved, copies, True)
    assert [g.shape for g in grads] == [a.shape for a in inputs.values()]
    assert {a.device.type for a in (*results, *grads)} == {"cuda"}


@pytest.mark.usefixtures("with_triton", "fakes")
@pytest.mark.parametrize("name", NAMES)
def test_auto_stays_with_pytorch_and_says_so_once(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            RECURRENCES[name].run(**fake_inputs(name, NO_STEPS))
    assert len(caught) == 1
    assert "backend='triton'" in str(caught[0].message)


@pytest.mark.usefixtures("fakes")
def test_without_triton_the_named_backend_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "AVAILABLE", False)
    with pytest.raises(RuntimeError, match=r"^backend: 'triton' needs Triton"):
        ops.srwm(**fake_inputs("srwm"), backend="triton")
    ops.srwm(**fake_inputs("srwm", NO_STEPS))  # without a warning


@pytest.mark.usefixtures("with_triton", "fakes")
def test_a_matrix_that_is_too_large_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^backend: 'triton' does not take matrices as large as those of E = 65, D = 3"):
        ops.srwm(**fake_inputs("srwm", Sizes(1, 2, 1, 65, 3)), backend="triton")
    ops.srwm(**fake_inputs("srwm", Sizes(1, 2, 1, 64, 64)), backend="triton")


@pytest.mark.usefixtures("with_triton", "fakes")
def test_float64_is_an_error() -> None:
    inputs = {key: a.double() for key, a in fake_inputs("srwm").items()}
    with pytest.raises(ValueError, match=r"^backend: 'triton' computes float32 on CUDA devices, got torch.float64 on cuda"):
        ops.srwm(**inputs, backend="triton")


@pytest.mark.usefixtures("with_triton")
@pytest.mark.parametrize("name", NAMES)
def test_compiled_to_one_graph(name: str) -> None:
    """The operators stay opaque in the graph; that nothing computes them here is no matter."""
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    with FakeTensorMode(allow_non_fake_inputs=True):
        inputs = fake_inputs(name)
        compiled = torch.compile(lambda **given: RECURRENCES[name].run(**given, backend="triton"), fullgraph=True, backend=keep)
        y, _ = compiled(**inputs)
    torch._dynamo.reset()
    assert y.device.type == "cuda"
    assert [str(node.target) for graph in graphs for node in graph.graph.nodes if "srwm" in str(node.target)]


def test_importing_does_not_import_triton() -> None:
    code = "import sys, srwm, srwm.ops; sys.exit('triton' in sys.modules or 'srwm.ops.gpu.blocks' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
