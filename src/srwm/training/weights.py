"""Weights of a model as a safetensors file with a digest of its content."""

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from srwm.errors import UserError
from srwm.files import check_regular, write_atomically

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)
"""Dtypes of weights and buffers; int64 is that of BatchNorm's counter of batches."""
_FEW = 64
"""Blocks without tensors of their own that a model may have."""
_KEY, _DIGEST = "srwm", "digest"
_FLOATS = ("F16", "BF16", "F32", "F64")

M = TypeVar("M", bound=nn.Module)

Header: TypeAlias = Mapping[str, Mapping[str, Any]]
"""`dtype`, as safetensors names it, and `shape` of each tensor in a file."""


class MisfitError(Exception):
    """The tensors in a file are not those of a model; the message names up to three that differ."""


def save_weights(path: Path, model: nn.Module, metadata: dict[str, int | str], dtype: torch.dtype | None = None) -> None:
    """Write a model's `state_dict` as safetensors, atomically. Equal weights and metadata make equal files.

    Args:
        path: the file.
        model: the model.
        metadata: saved in the file with a digest of weights and metadata, as JSON under the one key `srwm`, since safetensors
            writes several keys in a random order.
        dtype: the dtype to which parameters are rounded; None: no rounding.

    Raises:
        UserError: the file cannot be written.
        ValueError: weights are out of the range of `dtype`.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for name, _ in model.named_parameters() if dtype else ():
        rounded = tensors[name].to(dtype)
        if (rounded.isinf() & tensors[name].isfinite()).any():
            raise ValueError(f"dtype: {name} is out of the range of {dtype}")
        tensors[name] = rounded
    content = {**metadata, _DIGEST: _digest(tensors, metadata)}
    write_file(path, safetensors.torch.save(tensors, {_KEY: json.dumps(content, ensure_ascii=False)}))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load the weights of a safetensors file into a model.

    Args:
        path: the file.
        model: the model.

    Raises:
        UserError: the file is missing, damaged, or does not fit the model.
    """
    tensors = read_weights(path)
    try:
        _check_kinds(tensors, model.state_dict())
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{path}: the weights do not fit this model ({error})") from error


def check_shapes(path: Path, num_layers: int, build: Callable[[], nn.Module]) -> None:
    """Check by the header of a file that its weights fit a model, as `matching_model`, before memory for weights is taken.

    Args:
        path: a safetensors file; a missing one passes.
        num_layers: blocks of the model by its configuration.
        build: makes the model on the device "meta".

    Raises:
        UserError: the file is damaged, or holds the weights of another model.
    """
    check_regular(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = {name: _description(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from error
    try:
        matching_model(header, num_layers, build)
    except MisfitError as error:
        raise UserError(f"{path}: the weights do not fit this model ({error})") from error


def matching_model(header: Header, num_layers: int, build: Callable[[], M]) -> M:
    """Build a model without data, and compare its tensors with the header of a file.

    A configuration beside the file may name any size, and a model of it with data would take memory and time without end.

    Args:
        header: dtype and shape of each tensor in the file.
        num_layers: blocks of the model by its configuration.
        build: makes the model on the device "meta".

    Returns:
        The model.

    Raises:
        MisfitError: names, shapes or kinds of dtypes differ.
    """
    if num_layers > max(_FEW, len(header)):
        raise MisfitError(f"num_layers: expected {len(header)} or fewer, as there are tensors, got {num_layers}")
    model = build()
    expected = model.state_dict()
    if wrong := [text for name in sorted(expected.keys() | header.keys()) if (text := _misfit(name, expected, header))]:
        raise MisfitError("; ".join(wrong[:3]))
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. A digest in the file is checked; files of earlier versions and of other programs have
    none.

    Args:
        path: the file.

    Returns:
        The tensors by name.

    Raises:
        UserError: the file is missing, damaged, or has tensors of other dtypes than float32, float64, float16, bfloat16 and
            int64.
    """
    check_regular(path)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except (OSError, KeyError, AttributeError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            wanted = ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)
            raise UserError(f"{path}: {name}: expected one of {wanted}, got {str(tensor.dtype).removeprefix('torch.')}")
    metadata = read_metadata(path)
    digest = metadata.pop(_DIGEST, None)
    if digest is not None and digest != _digest(tensors, metadata):
        raise UserError(f"{path}: not a readable checkpoint (damaged: its content has changed since it was written)")
    return tensors


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file that `save_weights` wrote, with the digest.

    Args:
        path: the file.

    Returns:
        The metadata; empty for a file of another program.

    Raises:
        UserError: the file is not readable.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from error
    return metadata if isinstance(metadata, dict) else {}


def content_digest(content: bytes) -> str:
    """The digest of a file's content.

    Args:
        content: the content.

    Returns:
        32 hexadecimal digits.
    """
    return blake2b(content, digest_size=16).hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, and create its folder if it is missing.

    Args:
        path: the file.
        content: its content.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"cannot save {path}: {error.strerror or error}; the previous file is intact") from error


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    digest = blake2b(json.dumps(dict(metadata), sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_kinds(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if name in wanted and tensor.is_floating_point() != wanted[name].is_floating_point():
            raise TypeError(f"{name}: expected {wanted[name].dtype}, got {tensor.dtype}")


def _description(tensor: Any) -> dict[str, Any]:
    return {"dtype": tensor.get_dtype(), "shape": tensor.get_shape()}


def _misfit(name: str, expected: Mapping[str, Tensor], header: Header) -> str:
    """What is wrong with a tensor of a file; empty text if nothing is."""
    if name not in header:
        return f"{name}: missing"
    if name not in expected:
        return f"{name}: unknown"
    dtype, shape = header[name].get("dtype"), header[name].get("shape")
    if shape != list(expected[name].shape):
        return f"{name}: expected {list(expected[name].shape)}, got {shape}"
    kinds = _FLOATS if expected[name].is_floating_point() else ("I64",)
    return "" if dtype in kinds else f"{name}: expected {' or '.join(kinds)}, got {dtype}"
