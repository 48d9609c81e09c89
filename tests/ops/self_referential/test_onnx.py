"""The reference exports to ONNX: a layer with its state as an input and an output."""

import warnings
from pathlib import Path

import pytest
import torch

from srwm.nn import SRWM


def test_a_layer_on_the_reference_exports(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    evaluator = pytest.importorskip("onnx.reference", reason="onnx is not installed").ReferenceEvaluator
    torch.manual_seed(0)
    layer = SRWM(8, 2, backend="reference").eval()
    x, state = torch.randn(2, 3, 8), torch.randn(2, *layer.state_shape) / 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's exporter
        torch.onnx.export(layer, (x, state), dynamo=True, verbose=False).save(tmp_path / "layer.onnx")
    session = evaluator(onnx.load(tmp_path / "layer.onnx"))
    found = session.run(None, dict(zip(session.input_names, (x.numpy(), state.numpy()), strict=True)))
    for a, b in zip(found, layer(x, state), strict=True):
        torch.testing.assert_close(torch.from_numpy(a), b.detach(), rtol=1e-4, atol=1e-6)


def test_the_reference_has_only_operations_that_exporters_know() -> None:
    """What ONNX has no translation for: repeat_interleave by given numbers and a given size."""
    layer = SRWM(8, 2, backend="reference").eval()
    program = torch.export.export(layer, (torch.randn(2, 3, 8),))
    assert not any("repeat_interleave" in str(node.target) for node in program.graph.nodes)
