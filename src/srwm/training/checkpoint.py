"""Checkpoints: weights as safetensors, and a second file with everything else that an exact resume needs."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srwm.errors import UserError
from srwm.files import check_regular
from srwm.training.progress import Progress
from srwm.training.weights import content_digest, load_weights, save_weights, write_file

_MARK = b"srwm-blake2b:"
_COMMENT_LENGTH = len(_MARK) + 32


class Checkpoints:
    """The newest checkpoint of a run: `step-<n>.safetensors` and `step-<n>.state.pt`.

    The weights are written first, then the state. A pair counts only if it is complete, and the older pair is removed only
    then. So the last complete pair survives if the process is killed or the disk is full at any moment. Each file holds a
    digest of its content; the state file holds it as the comment of its zip archive. Files of earlier versions have no digest.

    Args:
        folder: the folder of the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, model: nn.Module, state: dict[str, Any]) -> None:
        """Write a pair.

        Args:
            step: the number of the checkpoint.
            model: the model whose weights are saved.
            state: tensors, numbers, strings, lists and dicts.

        Raises:
            UserError: it cannot be written; the previous pair still exists then.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = _with_digest(buffer.getvalue())
        save_weights(self._weights(step), model, {"step": step})
        write_file(self._state(step), content)
        self._remove_all_but(step)

    def load(self, model: nn.Module) -> dict[str, Any] | None:
        """Load the newest complete pair.

        Args:
            model: the model that gets the weights.

        Returns:
            The state, or None if there is no checkpoint.

        Raises:
            UserError: a file is damaged or does not fit the model.
        """
        while (step := self.newest()) is not None:
            try:
                return self._load(step, model)
            except UserError:
                if self.newest() == step:
                    raise  # otherwise another process has written a newer pair meanwhile
        return None

    def newest(self) -> int | None:
        """The step of the newest complete pair, or None.

        Returns:
            The step.
        """
        return max((step for step in self._steps() if self._weights(step).exists()), default=None)

    def newest_weights(self) -> Path | None:
        """The weights of the newest complete pair; None if there is none.

        Returns:
            The file.
        """
        step = self.newest()
        return None if step is None else self._weights(step)

    def remove_older(self) -> None:
        """Remove all files but the newest complete pair. A process that was killed while it saved may have left some."""
        newest = self.newest()
        if newest is not None:
            self._remove_all_but(newest)

    def _load(self, step: int, model: nn.Module) -> dict[str, Any]:
        path = self._state(step)
        check_regular(path)
        try:
            content = path.read_bytes()
            if not _is_intact(content):
                raise ValueError("damaged: its content has changed since it was written")
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file can raise anything
            raise UserError(f"{path}: not a readable checkpoint ({_describe(error)})") from error
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


def resume_from(folder: Path, model: nn.Module, set_state: Callable[[dict[str, Any]], None]) -> Progress:
    """Continue from the newest checkpoint of a run, if there is one.

    Args:
        folder: the run folder.
        model: the model that gets the weights.
        set_state: takes everything else that the checkpoint holds.

    Returns:
        The counters of the run; fresh ones without a checkpoint.

    Raises:
        UserError: the checkpoint is corrupt, or of another kind of run.
    """
    checkpoints = Checkpoints(folder / "checkpoints")
    state = checkpoints.load(model)
    if state is None:
        return Progress()
    with reading_state(checkpoints.folder):
        set_state(state)
        return Progress.from_dict(state["progress"])


@contextmanager
def reading_state(folder: Path, *passing: type[Exception]) -> Iterator[None]:
    """A context in which errors of a malformed state become a UserError.

    Args:
        folder: the folder of the checkpoints.
        passing: types of errors that are raised unchanged.

    Returns:
        The context.

    Raises:
        UserError: the state in the checkpoint does not fit this run.
    """
    try:
        yield
    except passing:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{folder}: not the state of such a run ({_describe(error)})") from error


def _with_digest(archive: bytes) -> bytes:
    """A zip archive without a comment, as `torch.save` writes it, with its digest as the comment."""
    content = archive[:-2] + _COMMENT_LENGTH.to_bytes(2, "little")
    return content + _MARK + content_digest(content).encode()


def _is_intact(content: bytes) -> bool:
    """Whether the digest of an archive fits its content; an archive without a digest passes."""
    archive, comment = content[:-_COMMENT_LENGTH], content[-_COMMENT_LENGTH:]
    return not comment.startswith(_MARK) or comment[len(_MARK) :] == content_digest(archive).encode()


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
