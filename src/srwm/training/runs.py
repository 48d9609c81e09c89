"""A run folder: `config.json`, `metrics.csv`, `tensorboard/`, `checkpoints/`, `best.safetensors`, results and figures."""

import csv
import dataclasses
import io
import json
import os
import tempfile
import typing
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

from srwm.errors import UserError
from srwm.files import remove_leftovers, write_atomically
from srwm.training.checkpoint import Checkpoints
from srwm.training.configuration import config_from_dict, entries

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from lightning_fabric import Fabric

T = TypeVar("T")

BEST = "best.safetensors"
_LABORATORIES = {"k_shot": "srwm fewshot", "env": "srwm rl"}
"""Which commands make runs whose configuration has such a field."""


def create_run(folder: Path, config: "DataclassInstance") -> None:
    """Make a new run folder, with its configuration in it or not at all.

    Raises UserError where the folder is there already, unless it is empty, or cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists already; continue it with --resume, or name another run folder")
        if folder.exists() and folder.samefile(Path.cwd()):  # another folder in its place would not be the one we are in
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
    """Make the run folder, or with `resume` check that it is this run's and can go on; clear what a kill left.

    The first process does so, and is the only writer while it lasts. first_checkpoint: the step of it.
    Raises UserError as `create_run`, `check_same_config` and `only_writer`, and where the checkpoint of a run is lost.
    """
    if resume:
        check_same_config(folder, config)
    elif fabric.is_global_zero:
        create_run(folder, config)
    fabric.barrier()
    with only_writer(folder) if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            for part in (folder, folder / "checkpoints"):
                remove_leftovers(part)
            _check_goes_on(folder, first_checkpoint)
        yield


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """While it lasts, no second process that asks may write in this run folder; a process that ends frees it.

    Raises UserError where another process has it. Where the system or its file system knows no locks, nothing is refused.
    """
    with (folder / ".lock").open("w") as file:
        try:
            _lock(file)
        except BlockingIOError as error:
            raise UserError(f"another process is training in {folder}; wait for it, or name another run folder") from error
        except OSError:  # a file system without locks
            pass
        yield


def check_same_config(folder: Path, config: "DataclassInstance") -> None:
    """Raise UserError that names every field in which `config` differs from the one that the run began with.

    Fields that did not exist then had what is their default now; those of `NO_OUTCOME` may differ.
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
    """The configuration of a run, of this kind. Raises UserError where the folder is not a run, or of another kind."""
    content = _read_config(folder)
    for name, commands in _LABORATORIES.items():
        if name in content and name not in typing.get_type_hints(kind):
            raise UserError(f"{folder} is a run of {commands}, which alone knows what to do with it")
    try:
        return config_from_dict(kind, content)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{folder / 'config.json'}: not a configuration of this version ({error})") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def keep_result(path: Path, result: dict[str, Any], weights: Path) -> bool:
    """Write a result as JSON, unless one over more episodes is there, made since `weights` were: a warning tells of that."""
    try:
        before = json.loads(path.read_text()) if path.stat().st_mtime >= weights.stat().st_mtime else None
    except (OSError, ValueError):
        before = None
    if _episodes(before) > _episodes(result):
        warnings.warn(
            f"not kept: {path} stays, which is over {_episodes(before)} episodes, and this over {_episodes(result)}",
            stacklevel=2,
        )
        return False
    write_json(path, result)
    return True


class MetricsLog:
    """Appends rows to `metrics.csv` and the same numbers to TensorBoard; each row is on disk when `write` returns."""

    def __init__(self, folder: Path, last_step: int, more_losses: Sequence[str] = ()) -> None:
        """Continue after `last_step`: rows past it belong to steps that were lost and are dropped."""
        losses = ("train_loss", *more_losses)
        self._begin(
            folder,
            last_step,
            ("minutes", "cpu_minutes", "learning_rate", *losses, "train_accuracy", "val_accuracy", "val_interval"),
        )

    def _begin(self, folder: Path, last_step: int, fields: Sequence[str]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.fields = ("step", *fields)
        self.path = folder / "metrics.csv"
        kept = [row for row in read_metrics(folder) if row["step"] <= last_step]
        if unknown := {name for row in kept for name in row}.difference(self.fields):
            raise UserError(f"{self.path}: no column {', '.join(sorted(unknown))}; expected {', '.join(self.fields)}")
        text = io.StringIO()
        writer = csv.DictWriter(text, self.fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "step": int(row["step"])} for row in kept)
        write_atomically(self.path, text.getvalue().encode())
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=last_step + 1)

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Flush and close."""
        self.board.close()

    def write(self, step: int, **values: float) -> None:
        """Add one row; fields that are not given stay empty."""
        try:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.fields, lineterminator="\n").writerow({"step": step, **values})
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        for name, value in values.items():
            self.board.add_scalar(name, value, step)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The rows of `metrics.csv`, empty fields left out; a row that was cut off while it was written is dropped.

    Raises UserError where it is no table of numbers with a step in every row. A spreadsheet may have written it.
    """
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    try:
        *lines, _ = path.read_text(encoding="utf-8-sig").split("\n")
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(lines)]
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a table of numbers ({error})") from error
    check_columns(folder, rows, "step")
    return rows


def check_columns(folder: Path, rows: Sequence[dict[str, float]], *columns: str) -> None:
    """Raise UserError that names a column which some of these rows of `metrics.csv` do not have."""
    for name in columns:
        if not all(name in row for row in rows):
            raise UserError(f"{folder / 'metrics.csv'}: not a table of metrics, a row has no {name}")


def short_names(folders: Sequence[Path]) -> list[str]:
    """Names that tell run folders apart: their last parts, as many as that takes."""
    paths = [folder.resolve() for folder in folders]
    most = max((len(path.parts) for path in paths), default=0)
    ends = ([str(Path(*path.parts[-count:])) for path in paths] for count in range(1, most + 1))
    return next((names for names in ends if len(set(names)) == len(set(paths))), [])


def _check_goes_on(folder: Path, first_checkpoint: int) -> None:
    """A run goes past the first checkpoint's step only when that is written, and only the best weights may come before it."""
    checkpoints = Checkpoints(folder / "checkpoints")
    if checkpoints.newest() is not None:
        return
    steps = [row["step"] for row in read_metrics(folder)]
    weights = {path.name for path in folder.glob("*.safetensors")}
    if weights - {BEST} or (weights and not steps) or any(step > first_checkpoint for step in steps):
        raise UserError(
            f"{checkpoints.folder}: expected step-N.safetensors and step-N.state.pt, of a run that has got this far, and they "
            "are not both there; put them back, or begin a new run in another folder"
        )
    if steps:
        warnings.warn(f"{folder} was ended before its first checkpoint and begins anew", stacklevel=2)


def _episodes(result: object) -> int:
    """The largest number that a result, or a part of it, calls episodes."""
    if not isinstance(result, dict):
        return 0
    own = result.get("episodes")
    return max([own if isinstance(own, int) else 0, *map(_episodes, result.values())])


def _lock(file: IO[str]) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} is not a run folder: it holds no config.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a configuration")
    return content
