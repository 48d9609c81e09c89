"""The folder of a model: `config.json`, `model.safetensors` and a model card."""

import hashlib
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from srwm.errors import UserError
from srwm.files import write_atomically
from srwm.learner.kinds import FEW_SHOT, AnyModel, M, ModelKind, check_kind, kind_of
from srwm.learner.safe_file import read_file, read_header, read_tensors
from srwm.training.configuration import config_from_dict
from srwm.training.runs import BEST, write_json
from srwm.training.weights import MisfitError, matching_model, save_weights

Precision = Literal["float32", "float16", "bfloat16"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
_FORMAT = 1


class _Contents(NamedTuple):
    """What `config.json` holds."""

    model: Any
    metadata: Any
    weights: Path
    digest: str | None
    """digest of the field `model` in the file and of the weights' file; None in files of earlier versions and of runs"""
    written: dict[str, Any]
    """the field `model` as it is in the file"""


def check_precision(dtype: object) -> torch.dtype:
    """The PyTorch dtype of this name.

    Args:
        dtype: A `Precision`: float32, float16 or bfloat16.

    Returns:
        The dtype.

    Raises:
        ValueError: It is another name.
    """
    if dtype not in get_args(Precision):
        raise ValueError(f"dtype: expected {', '.join(get_args(Precision))}, got {dtype!r}")
    found: torch.dtype = getattr(torch, str(dtype))
    return found


def write_folder(model: AnyModel, folder: Path, dtype: Precision = "float32", overwrite_card: bool = False) -> None:
    """Write a model with its metadata, as `srwm.save_model`.

    Args:
        model: The model.
        folder: Where the files go; made where it is missing.
        dtype: The dtype in which parameters are stored.
        overwrite_card: Whether an existing README.md is replaced.

    Raises:
        UserError: As `srwm.save_model`.
        ValueError: As `srwm.save_model`.
    """
    rounded, kind = check_precision(dtype), kind_of(model)
    if (folder / CONFIG).exists() and "format" not in _read_json(folder):
        raise UserError(f"{folder}: holds the {CONFIG} of a run or of another program; name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / WEIGHTS, model, {"format": _FORMAT}, rounded)
        written = json.loads(json.dumps(asdict(model.config)))
        content = {"format": _FORMAT, "kind": kind.name, "model": written, "metadata": asdict(model.metadata)}
        write_json(folder / CONFIG, content | {"digest": _digest(written, (folder / WEIGHTS).read_bytes())})
        _write_card(kind.card(model).encode(), folder / CARD, overwrite_card)
    except OSError as error:
        raise UserError(f"cannot save {folder}: {error.strerror or error}") from error


def read_folder(folder: Path, kind: ModelKind[M]) -> M:
    """Read the model of a folder that `write_folder` wrote, or of a training run.

    Names and shapes are compared before any weight is read, so a wrong configuration costs neither memory nor time.

    Args:
        folder: A folder with `config.json` and the weights beside it.
        kind: The kind of model that is expected.

    Returns:
        The model in evaluation mode, float32, on the CPU, whatever PyTorch's defaults are.

    Raises:
        UserError: The folder is neither, holds another kind, or its files are from another version, corrupt, or inconsistent.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder with {CONFIG} and {WEIGHTS}, got a file")
    contents = _read_config(folder, kind)
    data = read_file(contents.weights)
    try:
        header = {name: entry for name, entry in read_header(data).items() if name != "__metadata__"}
        model = matching_model(header, contents.model.stack.num_layers, lambda: _empty_model(contents.model, kind))
        tensors = read_tensors(data)
    except MisfitError as error:
        raise UserError(f"{folder}: weights and configuration do not fit ({error})") from error
    except ValueError as error:
        raise UserError(f"{contents.weights}: not a readable checkpoint ({error})") from error
    if contents.digest is not None and contents.digest != _digest(contents.written, data):
        raise UserError(f"{folder}: damaged, {CONFIG} and {WEIGHTS} have changed since they were saved")
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise UserError(f"{contents.weights}: {broken[0]} holds NaN or infinity")
    _fill(model, tensors)
    model.metadata = contents.metadata
    model.eval()
    return model


def _write_card(card: bytes, path: Path, overwrite: bool) -> None:
    if overwrite or not path.exists():
        write_atomically(path, card)
    elif path.read_bytes() != card:
        warnings.warn(f"{path} exists and is kept; overwrite_card=True replaces it", stacklevel=4)


def _digest(written: dict[str, Any], weights: bytes) -> str:
    digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode())
    digest.update(weights)
    return digest.hexdigest()


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.exists():
        raise UserError(f"{folder}: holds no {CONFIG}, so it is neither a checkpoint nor a run")
    try:
        content = json.loads(read_file(path).decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a configuration of a model")
    return content


def _read_config(folder: Path, kind: ModelKind[M]) -> _Contents:
    path, content = folder / CONFIG, _read_json(folder)
    written = content.get("model")
    if not isinstance(written, dict):
        raise UserError(f"{path}: not a configuration of {kind.title}")
    of_run = "format" not in content
    if not of_run and content["format"] != _FORMAT:
        raise UserError(f"{path}: expected format {_FORMAT}, got {content['format']!r}; another version of srwm wrote it")
    if not of_run:
        check_kind(content.get("kind", FEW_SHOT.name), kind, folder)
    given = kind.run_metadata(folder, content) if of_run else content.get("metadata", content.get("facts", {}))
    if not isinstance(given, dict):
        raise UserError(f"{path}: not a configuration of this version (metadata: expected an object, got {given!r})")
    try:
        config, metadata = config_from_dict(kind.config, written), config_from_dict(kind.metadata, given)
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a configuration of {kind.title} of this version ({error})") from error
    digest = content.get("digest")
    if digest is not None and not isinstance(digest, str):
        raise UserError(f"{path}: digest: expected text, got {digest!r}")
    return _Contents(config, metadata, folder / (BEST if of_run else WEIGHTS), None if of_run else digest, written)


def _empty_model(config: Any, kind: ModelKind[M]) -> M:
    """A model whose tensors have no data yet. Raises MisfitError where the configuration is not that of a model."""
    try:
        return kind.empty(config)
    except (UserError, TypeError, ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise MisfitError(error) from error


def _fill(model: AnyModel, tensors: dict[str, Tensor]) -> None:
    """Copy tensors into an empty model, in the memory format of the model's own tensors."""
    made = {}
    for name, empty in model.state_dict().items():
        dtype = torch.float32 if empty.is_floating_point() else torch.long
        made[name] = torch.empty_like(empty, dtype=dtype, device="cpu").copy_(tensors[name])
    model.load_state_dict(made, assign=True)
