"""Few-shot models as ONNX, for runtimes without PyTorch. Needs `srwm[onnx]`."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from srwm.errors import UserError
from srwm.fewshot.models.base import EpisodeModel
from srwm.files import write_atomically
from srwm.nn import State
from srwm.nn.state import leaves, map_state

OPSET = 18
FORMAT = 1


class Step(nn.Module):
    """One image: the logits of its question, and the state after learning it as an example.

    Args:
        model: the model, in evaluation mode; its operations run on the reference, which exporters can read.
    """

    def __init__(self, model: EpisodeModel) -> None:
        super().__init__()
        self.model = _on_reference(model)
        features = torch.zeros(1, 0, model.num_features, dtype=torch.float32, device="cpu")
        self.fresh: State = self.model.learn_features(features, torch.zeros(1, 0, dtype=torch.long, device="cpu"))

    def forward(self, image: Tensor, label: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Ask and learn.

        Args:
            image: (1, C, H, W), as the model reads it.
            label: (1,) int64, the index of its class, 0 to N - 1; the logits do not depend on it.
            *state: the tensors of the state before.

        Returns:
            Logits (1, N), and the tensors of the state after the example.
        """
        parts = iter(state)
        before = map_state(lambda _: next(parts), self.fresh)
        features = self.model.embed(image)[None]
        logits = self.model.query_features(features, before)[0]
        return logits, *leaves(self.model.learn_features(features, label[None], before))


def export_onnx(model: EpisodeModel, path: Path) -> None:
    """Write a model as one ONNX graph: stem, one question, and one learning step.

    Inputs are `image` (1, C, H, W) float32, `label` (1,) int64 and the state, `state.0`, `state.1`, ...; outputs are `logits`
    (1, N) and the state after the example, `next.0`, `next.1`, .... A fresh state is zeros. The metadata of the file has
    `srwm`, JSON with the format, the number of ways and the preprocessing of images.

    Args:
        model: the model, in evaluation mode, float32, on the CPU.
        path: the file.

    Raises:
        UserError: the file cannot be written, or the exporter cannot read the model: its core is an LSTM.
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    step = Step(model).eval()
    state = leaves(step.fresh)
    image = torch.zeros(1, *model.config.image_shape, dtype=torch.float32, device="cpu")
    arguments = (image, torch.zeros(1, dtype=torch.long, device="cpu"), *state)
    names = [f"state.{i}" for i in range(len(state))]
    import_module("onnxscript")  # the exporter's own error for a missing package hides its name
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                step,
                arguments,
                input_names=["image", "label", *names],
                output_names=["logits", *(name.replace("state", "next") for name in names)],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"a model with the core {model.config.stack.core!r} cannot be exported to ONNX") from error
    assert program is not None
    proto = program.model_proto
    facts = {"format": FORMAT, "n_way": model.config.n_way, "preprocess": model.metadata.preprocess}
    proto.metadata_props.add(key="srwm", value=json.dumps(facts))
    try:
        write_atomically(path, proto.SerializeToString())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _on_reference(model: EpisodeModel) -> EpisodeModel:
    """A copy whose operations run on the reference: exporters know nothing of the kernels."""
    copy = deepcopy(model).eval().requires_grad_(False)
    for part in copy.modules():
        if "backend" in vars(part):
            vars(part)["backend"] = "reference"
    return copy


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own parts and of packages that it does not need."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
