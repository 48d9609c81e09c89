"""A run folder: `config.json`, `metrics.csv`, `tensorboard/`, `checkpoints/`, `best.safetensors`, results and figures."""

import dataclasses
import json
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from srwm.errors import UserError
from srwm.files import check_regular, remove_leftovers, write_atomically
from srwm.training.checkpoint import Checkpoints
from srwm.training.configuration import config_from_dict, entries
from srwm.training.metrics import read_metrics

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from lightning_fabric import Fabric

T = TypeVar("T")

BEST = "best.safetensors"


def create_run(folder: Path, config: "DataclassInstance") -> None:
    """Create a run folder with its configuration, or nothing at all.

    Args:
        folder: the run folder.
        config: the configuration.

    Raises:
        UserError: the folder exists and is not empty, or it cannot be created.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists already; continue it with --resume, or name another run folder")
        if folder.exists() and folder.samefile(
            Path.cwd()
        ):  # replacing the working folder would leave this process in a deleted one
            write_json(folder / "config.json", dataclasses.asdict(config))
            return
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            whole = Path(temporary) / "run"
            whole.mkdir()
            write_json(whole / "config.json", dataclasses.asdict(config))
            os.replace(whole, folder)
    except OSError as error:
        raise UserError(f"cannot make the run folder {folder}: {error.strerror or error}") from error


@contextmanager
def open_run(
    fabric: "Fabric", folder: Path, config: "DataclassInstance", resume: bool, *, first_checkpoint: int
) -> Iterator[None]:
    """A context for training in a run folder, in which no other process can train there.

    Rank 0 creates the folder, or with `resume` checks that it has the same configuration and a checkpoint. It removes
    temporary files of a killed process.

    Args:
        fabric: the processes of the run.
        folder: the run folder.
        config: the configuration of the run.
        resume: continue a run whose folder exists.
        first_checkpoint: the step of the first checkpoint.

    Returns:
        The context.

    Raises:
        UserError: as `create_run`, `check_same_config` and `only_writer`; or the checkpoint of the run is missing, or its
            folder is a link.
    """
    if resume:
        check_same_config(folder, config)
    elif fabric.is_global_zero:
        create_run(folder, config)
    fabric.barrier()
    with only_writer(folder) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            checkpoints = folder / "checkpoints"
            if checkpoints.is_symlink() or (checkpoints.exists() and not checkpoints.is_dir()):
                raise UserError(f"{checkpoints}: expected a folder, got a link or a file")
            for part in (folder, checkpoints):
                remove_leftovers(part)
            _check_goes_on(folder, first_checkpoint)
            Checkpoints(checkpoints).remove_older()
        yield


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """A context in which no other process can enter this context for the same folder. The lock ends with the process.

    Where the system or its file system has no locks, nothing is refused.

    Args:
        folder: the run folder.

    Returns:
        The context.

    Raises:
        UserError: another process holds the lock, or the file `.lock` is a link, a pipe or a device.
    """
    descriptor = _open_lock(folder / ".lock")
    try:
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            raise UserError(f"another process is training in {folder}; wait for it, or name another run folder") from error
        yield
    finally:
        os.close(descriptor)


def check_same_config(folder: Path, config: "DataclassInstance") -> None:
    """Check that a configuration equals the one of the run.

    Fields that did not exist then count as their present defaults. Fields of `NO_OUTCOME` may differ.

    Args:
        folder: the run folder.
        config: the configuration.

    Raises:
        UserError: a field differs; the message names all that do.
    """
    stored, given = (
        {entry.name: entry.value for entry in entries(each) if entry.decides and not entry.nested}
        for each in (read_config_of(folder, type(config)), config)
    )
    names = sorted(name for name in stored.keys() | given.keys() if stored.get(name) != given.get(name))
    if names:
        changes = ", ".join(f"{name} (was {stored.get(name)}, now {given.get(name)})" for name in names)
        raise UserError(f"{folder} was begun with another configuration: {changes}")


def read_config_of(folder: Path, kind: type[T]) -> T:
    """Read the configuration of a run.

    Args:
        folder: the run folder.
        kind: the dataclass of the configuration. Its optional table `FOREIGN_FIELDS` maps a field name that identifies runs of
            other commands to these commands.

    Returns:
        The configuration.

    Raises:
        UserError: the folder is not a run folder, or is a run of other commands.
    """
    content = _read_config(folder)
    for name, commands in getattr(kind, "FOREIGN_FIELDS", {}).items():
        if name in content:
            raise UserError(f"{folder} is a run of {commands}; use the commands of {commands} for it")
    try:
        return config_from_dict(kind, content)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{folder / 'config.json'}: not a configuration of this version ({error})") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically.

    Args:
        path: the file.
        content: its content.
    """
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def keep_result(path: Path, result: dict[str, Any], weights: Path) -> bool:
    """Write a result as JSON, unless the file has a result of the same weights over more episodes.

    Args:
        path: the file.
        result: the result.
        weights: the file of the weights; a result that is older than it is replaced.

    Returns:
        Whether it was written. A warning says so if not.
    """
    try:
        is_current = path.is_file() and path.stat().st_mtime >= weights.stat().st_mtime
        before = json.loads(path.read_text()) if is_current else None
    except (OSError, ValueError):
        before = None
    if _episodes(before) > _episodes(result):
        warnings.warn(
            f"not saved: {path} has a result over {_episodes(before)} episodes, this one is over {_episodes(result)}",
            stacklevel=2,
        )
        return False
    write_json(path, result)
    return True


def short_names(folders: Sequence[Path]) -> list[str]:
    """Different names for run folders: the last parts of their paths, as many as needed.

    Args:
        folders: the run folders.

    Returns:
        A name for each folder, in order.
    """
    paths = [folder.resolve() for folder in folders]
    most = max((len(path.parts) for path in paths), default=0)
    ends = ([str(Path(*path.parts[-count:])) for path in paths] for count in range(1, most + 1))
    return next((names for names in ends if len(set(names)) == len(set(paths))), [])


def _check_goes_on(folder: Path, first_checkpoint: int) -> None:
    """Check that a run can be resumed: past the first checkpoint's step there must be a complete pair."""
    checkpoints = Checkpoints(folder / "checkpoints")
    if checkpoints.newest() is not None:
        return
    steps = [row["step"] for row in read_metrics(folder)]
    weights = {path.name for path in folder.glob("*.safetensors")}
    if weights - {BEST} or (weights and not steps) or any(step > first_checkpoint for step in steps):
        raise UserError(
            f"{checkpoints.folder}: expected step-N.safetensors and step-N.state.pt, since this run has saved a checkpoint; "
            "restore them, or begin a new run in another folder"
        )
    if steps:
        warnings.warn(f"{folder} was stopped before its first checkpoint and starts from the beginning", stacklevel=2)


def _episodes(result: object) -> int:
    """The largest value under the key "episodes" in a result or in a part of it."""
    if not isinstance(result, dict):
        return 0
    own = result.get("episodes")
    return max([own if isinstance(own, int) else 0, *map(_episodes, result.values())])


def _open_lock(path: Path) -> int:
    """Open the file, created if missing; a link is not followed, and the content is kept."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        why = "a link is there" if path.is_symlink() else error.strerror or error
        raise UserError(f"{path}: cannot be opened as a file ({why})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: expected a file, got a pipe or a device")
    return descriptor


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where another process has the lock; does nothing where there are no locks."""
    if os.name != "posix":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        pass


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    check_regular(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} is not a run folder: it holds no config.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a configuration")
    return content
