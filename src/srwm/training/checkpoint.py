"""Checkpoints: weights as safetensors, and beside them everything else that an exact resume needs."""

import io
import json
import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from srwm.errors import UserError
from srwm.files import write_atomically


def save_weights(path: Path, model: nn.Module, metadata: dict[str, int | str], dtype: torch.dtype | None = None) -> None:
    """Write a model's `state_dict` as safetensors, atomically, its parameters rounded to `dtype` if that is given.

    Equal weights and metadata make equal files: metadata is JSON under the one key `srwm`, since safetensors writes several
    keys in a random order. Raises UserError where it cannot be written, ValueError for weights beyond the
    range of `dtype`.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for name, _ in model.named_parameters() if dtype else ():
        rounded = tensors[name].to(dtype)
        if (rounded.isinf() & tensors[name].isfinite()).any():
            raise ValueError(f"dtype: {name} is out of the range of {dtype}")
        tensors[name] = rounded
    _write(path, safetensors.torch.save(tensors, {"srwm": json.dumps(metadata, ensure_ascii=False)}))


def load_weights(path: Path, model: nn.Module) -> None:
    """Put the weights of a safetensors file into `model`. Raises UserError where it is missing, corrupt or does not fit."""
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise UserError(f"{path}: the weights do not fit this model ({error})") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises UserError where it is missing or corrupt."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error})") from error
    return tensors


class Checkpoints:
    """The newest checkpoint of a run: `step-<n>.safetensors` and `step-<n>.state.pt`.

    The weights are written first, then the state; only a complete pair counts, and only then is the older pair removed. So a
    process that is killed, or a disk that is full, at any moment leaves the last complete pair.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, model: nn.Module, state: dict[str, Any]) -> None:
        """Write the pair of `step`; `state` holds tensors, numbers, strings, lists and dicts. Raises UserError if it cannot."""
        older = self._files()
        save_weights(self._weights(step), model, {"step": step})
        buffer = io.BytesIO()
        torch.save(state, buffer)
        _write(self._state(step), buffer.getvalue())
        for path in older:
            if path not in (self._weights(step), self._state(step)):
                path.unlink(missing_ok=True)

    def load(self, model: nn.Module) -> dict[str, Any] | None:
        """Put the newest complete pair into `model` and return its state; None if there is none.

        Raises UserError where a file is corrupt or does not fit the model.
        """
        while (step := self.newest()) is not None:
            try:
                return self._load(step, model)
            except UserError:
                if self.newest() == step:
                    raise  # else another process has put a newer pair in its place
        return None

    def _load(self, step: int, model: nn.Module) -> dict[str, Any]:
        path = self._state(step)
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # what a damaged file makes of the instructions in it is anything
            raise UserError(f"{path}: not a readable checkpoint ({_described(error)})") from error
        load_weights(self._weights(step), model)
        return state

    def newest(self) -> int | None:
        """The step of the newest complete pair; None if there is none."""
        return max((step for step in self._steps() if self._weights(step).exists()), default=None)

    def _weights(self, step: int) -> Path:
        return self.folder / f"step-{step}.safetensors"

    def _state(self, step: int) -> Path:
        return self.folder / f"step-{step}.state.pt"

    def _files(self) -> list[Path]:
        return list(self.folder.glob("step-*"))

    def _steps(self) -> list[int]:
        return [int(match[1]) for path in self._files() if (match := re.fullmatch(r"step-(\d+)\.state\.pt", path.name))]


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise UserError(f"cannot save {path}: {error.strerror or error}; what was saved before is intact") from error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
