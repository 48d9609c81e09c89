"""Reading safetensors files from untrusted sources. Their content is checked, and none of it is executed."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from srwm.errors import UserError


def read_file(path: Path) -> bytes:
    """Read a regular file.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        UserError: There is no such file, it is not a regular one (a pipe would block for ever), or it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: expected a file, got a folder, a pipe or a device")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({getattr(error, 'strerror', None) or error})") from error


def read_header(data: bytes) -> dict[str, dict[str, Any]]:
    """The header of a safetensors file.

    Args:
        data: The content of the file.

    Returns:
        `dtype` and `shape` of each tensor by name, and texts under `__metadata__`.

    Raises:
        ValueError: It is not a safetensors file.
    """
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= len(data) - 8:
        raise ValueError("the header is longer than the file")
    try:
        header = json.loads(data[8 : 8 + length])
    except RecursionError as error:
        raise ValueError("the header is nested too deep") from error
    if not isinstance(header, dict) or not all(isinstance(entry, dict) for entry in header.values()):
        raise ValueError("the header is not one of safetensors")
    return header


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        data: The content of the file.

    Returns:
        The tensors by name.

    Raises:
        ValueError: It is damaged, or not a safetensors file.
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except Exception as error:  # safetensors raises KeyError for dtypes that PyTorch lacks, and errors of its own
        raise ValueError(str(error) or type(error).__name__) from error
    return tensors
