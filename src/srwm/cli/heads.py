"""`srwm fewshot heads`: train the heads of a model on features of its stem."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from srwm.cli.options import parse, set_threads
from srwm.data.resize import resized
from srwm.data.splits import DatasetName, load_splits
from srwm.errors import UserError
from srwm.fewshot.models.metadata import ModelMetadata
from srwm.fewshot.models.prototypes import PrototypicalNetwork
from srwm.fewshot.models.sequence import FewShotModel
from srwm.fewshot.protocols.registry import read_config
from srwm.fewshot.report import load_best
from srwm.fewshot.training.heads import HeadsConfig, train_heads
from srwm.learner.kinds import FEW_SHOT
from srwm.learner.pretrained import load_model, save_model
from srwm.ranges import AtLeast
from srwm.training.configuration import check_values
from srwm.training.runs import BEST


@dataclass(frozen=True)
class HeadsOptions:
    """Train the heads of a few-shot model on features of its stem, which stays as it is, and write the model to a folder."""

    model: Annotated[str, tyro.conf.Positional]
    """name of a bundled checkpoint, folder of a model, or run folder of `srwm fewshot train`, also of learned class means"""
    to: Path
    """folder to create: the model, its configuration and its card"""
    config: Annotated[HeadsConfig, tyro.conf.arg(name="")] = field(default_factory=HeadsConfig)
    """the training"""
    data: DatasetName = "omniglot+glyphs"
    """data set, whose training classes train and whose validation classes choose the weights"""
    data_dir: Path | None = None
    """folder of the data sets; None: the environment variable SRWM_DATA, else the cache, into which data sets are downloaded"""
    threads: Annotated[int, AtLeast(1)] | None = None
    """number of PyTorch threads; None: PyTorch's default"""


def heads(arguments: Sequence[str]) -> None:
    """Train heads.

    Args:
        arguments: the words of the command line after `srwm fewshot heads`.

    Raises:
        UserError: the model or the data cannot be read, the folder exists, or an option is out of its range.
        SystemExit: wrong usage, or help was printed.
    """
    options = parse(HeadsOptions, "srwm fewshot heads", arguments)
    check_values(options.config)
    if options.to.exists():
        raise UserError(f"{options.to}: exists; name a new folder")
    set_threads(options.threads)
    model = _load(options.model)
    splits = resized(load_splits(options.data, options.data_dir), model.config.image_shape)
    trained = train_heads(model, splits, options.config, lambda text: print(text, flush=True))
    made = f"{model.metadata.trained_on}; then `srwm fewshot heads {shlex.join(arguments)}`"
    trained.metadata = replace(model.metadata, trained_on=made, results={})
    save_model(trained, options.to, dtype="float16")
    print(f"model: {options.to}")


def _load(name: str) -> FewShotModel | PrototypicalNetwork:
    """A model with a memory; or class means, which no learner takes, of a run."""
    folder = Path(name)
    if not (folder / BEST).exists() or read_config(folder).model.head != "prototypes":
        return load_model(name)
    model = load_best(folder)
    assert isinstance(model, PrototypicalNetwork)
    model.metadata = ModelMetadata(**FEW_SHOT.run_metadata(folder, json.loads((folder / "config.json").read_text())))
    return model
