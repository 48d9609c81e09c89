"""The metrics of a run: `metrics.csv` and `tensorboard/`."""

import csv
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from srwm.errors import UserError
from srwm.files import check_regular, write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class MetricsLog:
    """Appends rows to `metrics.csv` and to TensorBoard. A row is on disk when `write` returns.

    Args:
        folder: the run folder.
        last_step: the step from which the run continues; later rows belong to lost steps and are dropped.
        columns: the columns after `step`.

    Raises:
        UserError: the file has an unknown column, or cannot be written.
    """

    def __init__(self, folder: Path, last_step: int, columns: Sequence[str]) -> None:
        self.columns = ("step", *columns)
        self.path = folder / "metrics.csv"
        kept = [row for row in read_metrics(folder) if row["step"] <= last_step]
        if unknown := {name for row in kept for name in row}.difference(self.columns):
            raise UserError(f"{self.path}: no column {', '.join(sorted(unknown))}; expected {', '.join(self.columns)}")
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "step": int(row["step"])} for row in kept)
        try:
            write_atomically(self.path, text.getvalue().encode())
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        self._board = _open_board(folder / "tensorboard", last_step)

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Flush and close."""
        if self._board is not None:
            self._board.close()

    def write(self, step: int, **values: float) -> None:
        """Add one row.

        Args:
            step: the step.
            **values: the values by column; other columns stay empty.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow({"step": step, **values})
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        for name, value in values.items():
            if self._board is not None:
                self._board.add_scalar(name, value, step)


def _open_board(folder: Path, last_step: int) -> "SummaryWriter | None":
    """None, with a warning, where the name of the folder is not UTF-8, which TensorBoard cannot write to."""
    from torch.utils.tensorboard.writer import SummaryWriter

    try:
        return SummaryWriter(str(folder), purge_step=last_step + 1)
    except UnicodeEncodeError:
        warnings.warn(f"no files for TensorBoard, since the name of the run folder is not UTF-8: {folder}", stacklevel=2)
        return None


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Read `metrics.csv`, which may also come from a spreadsheet program.

    Args:
        folder: the run folder.

    Returns:
        The values of each row by column, without empty fields. An incomplete last row is dropped.

    Raises:
        UserError: it is not a table of numbers with a step in every row.
    """
    path = folder / "metrics.csv"
    check_regular(path)
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
    """Check that all rows have these columns.

    Args:
        folder: the run folder, for the message.
        rows: rows of `metrics.csv`.
        *columns: names of columns.

    Raises:
        UserError: a row lacks one; the message names it.
    """
    for name in columns:
        if not all(name in row for row in rows):
            raise UserError(f"{folder / 'metrics.csv'}: not a table of metrics, a row has no {name}")
