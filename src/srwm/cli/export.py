"""`srwm export`: a few-shot model as an ONNX file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from srwm.cli.options import parse
from srwm.errors import UserError
from srwm.fewshot.models.factory import with_head
from srwm.fewshot.models.residual import ResidualModel
from srwm.files import check_writable
from srwm.interop.onnx_export import export_onnx
from srwm.learner.heads import chosen_head
from srwm.learner.pretrained import load_model


@dataclass(frozen=True)
class ExportOptions:
    """Write a few-shot model as one ONNX graph: its image stem, one question, and one learning step."""

    model: Annotated[str, tyro.conf.Positional]
    """bundled checkpoint, run folder or folder with a checkpoint"""
    onnx: Path
    """file to write, such as characters.onnx"""
    head: Literal["auto", "prototypes", "memory", "residual"] = "auto"
    """what answers: class means, the memory, or both; auto: class means where the model has them"""


def export(arguments: Sequence[str]) -> None:
    """Write a model as ONNX.

    Args:
        arguments: the words of the command line after `srwm export`.

    Raises:
        UserError: the model cannot be loaded or exported or lacks the head, or the file cannot be written.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(ExportOptions, "srwm export", arguments)
    check_writable(options.onnx)
    model = load_model(options.model)
    try:
        head = chosen_head(model, options.head)
    except ValueError as error:
        raise UserError(error) from error
    export_onnx(with_head(model, head) if isinstance(model, ResidualModel) else model, options.onnx)
    print(f"ONNX: {options.onnx}, {options.onnx.stat().st_size / 2**20:.1f} MiB")
