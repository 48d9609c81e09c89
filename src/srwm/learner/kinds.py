"""The kinds of models that folders hold: few-shot models and models of streams."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from srwm.data.splits import CENTERED
from srwm.errors import UserError
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.factory import build_model
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.card import few_shot_card, stream_card
from srwm.streams.config import ModelConfig as StreamModelConfig
from srwm.streams.metadata import StreamMetadata
from srwm.streams.model import StreamModel
from srwm.training.configuration import present_names
from srwm.training.modes import float32_defaults

AnyModel = FewShotModel | StreamModel
M = TypeVar("M", bound=AnyModel)


@dataclass(frozen=True)
class ModelKind(Generic[M]):
    """How a kind of models is built, described and read from a folder."""

    name: str
    """value of `kind` in `config.json`"""
    title: str
    """for messages"""
    model: type[M]
    config: type[Any]
    """dataclass of the model's configuration, with a field `stack`"""
    metadata: type[Any]
    """dataclass of the model's metadata"""
    empty: Callable[[Any], M]
    """the model of a configuration, on the device "meta" """
    run_metadata: Callable[[Path, dict[str, Any]], dict[str, Any]]
    """metadata of a run, from its folder and its `config.json`; raises UserError if the product cannot use such a run"""
    card: Callable[[M], str]
    """the model card"""


def _empty_few_shot(config: ModelConfig) -> FewShotModel:
    if config.head == "prototypes":
        raise ValueError("head: expected 'memory' or 'residual', got 'prototypes'")
    model = build_model(config, device="meta")
    assert isinstance(model, FewShotModel)
    return model


def _few_shot_run(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    content = present_names(TrainConfig, content)
    if content.get("normalize"):
        raise UserError(f"{folder}: trained on normalized images, and FewShotLearner does not normalize its images")
    data = str(content.get("data", ""))
    return {"trained_on": data, "preprocess": "ink" if data in CENTERED else "none"}


def _empty_streams(config: StreamModelConfig) -> StreamModel:
    with float32_defaults("meta"):
        return StreamModel(config)


FEW_SHOT = ModelKind(
    "few-shot",
    "a few-shot model",
    FewShotModel,
    ModelConfig,
    ModelMetadata,
    _empty_few_shot,
    _few_shot_run,
    few_shot_card,
)
STREAMS = ModelKind(
    "streams",
    "a model of streams",
    StreamModel,
    StreamModelConfig,
    StreamMetadata,
    _empty_streams,
    lambda folder, content: {},
    stream_card,
)
_TITLES: Mapping[str, str] = {kind.name: kind.title for kind in (FEW_SHOT, STREAMS)}


def kind_of(model: M) -> ModelKind[M]:
    """The kind of a model.

    Args:
        model: The model.

    Returns:
        Its kind.

    Raises:
        TypeError: There is no such kind.
    """
    for kind in (FEW_SHOT, STREAMS):
        if isinstance(model, kind.model):
            return kind  # type: ignore[return-value]
    raise TypeError(f"model: expected {' or '.join(_TITLES.values())}, got {type(model).__name__}")


def check_kind(name: object, kind: ModelKind[Any], folder: Path) -> None:
    """Check the kind that a folder names.

    Args:
        name: The field `kind` of its `config.json`.
        kind: The kind that is wanted.
        folder: The folder, for messages.

    Raises:
        UserError: It is another one.
    """
    if name != kind.name:
        raise UserError(f"{folder}: expected {kind.title}, got {_TITLES.get(str(name), repr(name))}")
