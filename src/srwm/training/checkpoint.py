"""Checkpoints: weights as safetensors, and beside them everything else that an exact resume needs."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srwm.errors import UserError
from srwm.files import check_regular
from srwm.training.weights import content_digest, load_weights, save_weights, write_file

_MARK = b"srwm-blake2b:"
_COMMENT_LENGTH = len(_MARK) + 32


class Checkpoints:
    """The newest checkpoint of a run: `step-<n>.safetensors` and `step-<n>.state.pt`.

    The weights are written first, then the state; only a complete pair counts, and only then is the older pair removed. So a
    process that is killed, or a disk that is full, at any moment leaves the last complete pair. Each file holds a digest of its
    content, that of the state as the comment of its zip archive; files of earlier versions have none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, model: nn.Module, state: dict[str, Any]) -> None:
        """Write a pair.

        Args:
            step: its number.
            model: the weights.
            state: tensors, numbers, strings, lists and dicts.

        Raises:
            UserError: it cannot be written; the pair before is still there then.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = _with_digest(buffer.getvalue())
        save_weights(self._weights(step), model, {"step": step})
        write_file(self._state(step), content)
        self._remove_all_but(step)

    def load(self, model: nn.Module) -> dict[str, Any] | None:
        """Put the newest complete pair into `model` and return its state; None if there is none.

        Raises UserError where a file is damaged or does not fit the model.
        """
        while (step := self.newest()) is not None:
            try:
                return self._load(step, model)
            except UserError:
                if self.newest() == step:
                    raise  # else another process has put a newer pair in its place
        return None

    def newest(self) -> int | None:
        """The step of the newest complete pair; None if there is none."""
        return max((step for step in self._steps() if self._weights(step).exists()), default=None)

    def newest_weights(self) -> Path | None:
        """The weights of the newest complete pair; None if there is none."""
        step = self.newest()
        return None if step is None else self._weights(step)

    def remove_older(self) -> None:
        """Remove what a process that was killed between writing and removing left beside the newest complete pair."""
        newest = self.newest()
        if newest is not None:
            self._remove_all_but(newest)

    def _load(self, step: int, model: nn.Module) -> dict[str, Any]:
        path = self._state(step)
        check_regular(path)
        try:
            content = path.read_bytes()
            if not _is_intact(content):
                raise ValueError("damaged: its content is not what was written")
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # what a damaged file makes of the instructions in it is anything
            raise UserError(f"{path}: not a readable checkpoint ({_described(error)})") from error
        load_weights(self._weights(step), model)
        return state

    def _remove_all_but(self, step: int) -> None:
        for path in self.folder.glob("step-*"):
            if _PART.fullmatch(path.name) and path not in (self._weights(step), self._state(step)):
                path.unlink(missing_ok=True)

    def _weights(self, step: int) -> Path:
        return self.folder / f"step-{step}.safetensors"

    def _state(self, step: int) -> Path:
        return self.folder / f"step-{step}.state.pt"

    def _steps(self) -> list[int]:
        names = (_PART.fullmatch(path.name) for path in self.folder.glob("step-*.state.pt"))
        return [int(match[1]) for match in names if match]


_PART = re.compile(r"step-(\d+)\.(?:safetensors|state\.pt)")


@contextmanager
def reading_state(folder: Path, *passing: type[Exception]) -> Iterator[None]:
    """Raise UserError for what a state of another form raises while it is taken up.

    Args:
        folder: the folder of the checkpoints.
        passing: errors with another cause, which pass as they are.
    """
    try:
        yield
    except passing:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{folder}: not the state of such a run ({_described(error)})") from error


def _with_digest(archive: bytes) -> bytes:
    """A zip archive without a comment, as `torch.save` writes it, with its digest as the comment."""
    content = archive[:-2] + _COMMENT_LENGTH.to_bytes(2, "little")
    return content + _MARK + content_digest(content).encode()


def _is_intact(content: bytes) -> bool:
    """Whether the digest of an archive is that of its content; an archive without one passes."""
    archive, comment = content[:-_COMMENT_LENGTH], content[-_COMMENT_LENGTH:]
    return not comment.startswith(_MARK) or comment[len(_MARK) :] == content_digest(archive).encode()


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
