"""Labeled samples from a CSV file, row by row."""

import csv
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from srwm.errors import UserError
from srwm.files import check_regular
from srwm.streams.prequential import Row

MISSING = ("NA", "N/A", "?", "null")
"""Texts that stand for a missing value, in lower or upper case."""


def read_samples(path: Path, target: str, missing: Collection[str] = MISSING) -> Iterator[tuple[Row, str | None]]:
    """Read samples one by one; a file of any length takes little memory.

    A cell that is a number is read as one; an empty cell, one of `missing`, or a number that is not finite, is a missing value;
    any other text is a category. Blank lines are left out.

    Args:
        path: a CSV file in UTF-8, whose first row has the names of the columns.
        target: the column of the labels.
        missing: texts of missing values, in lower or upper case; in the column of the labels, they are labels.

    Yields:
        The other columns of a row by name, without missing values, and the text of its label, None where it is empty.

    Raises:
        UserError: there is no such file or column, two columns have the same name, there are no rows, a row has another number
            of cells than the first, or the file is not UTF-8 or not CSV.
    """
    check_regular(path)
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = _rows(csv.reader(file, strict=True), path)
        _, names = next(rows, (0, []))
        column = _target_column(names, target, path)
        empty, absent = True, {text.casefold() for text in missing} | {""}
        for line, cells in rows:
            if len(cells) != len(names):
                raise UserError(f"{path}, line {line}: expected {len(names)} cells, as in the first row, got {len(cells)}")
            empty = False
            values = {name: _value(cell, absent) for name, cell in zip(names, cells, strict=True) if name != names[column]}
            yield {name: value for name, value in values.items() if value is not None}, cells[column].strip() or None
        if empty:
            raise UserError(f"{path}: expected rows below the names of the columns, got none")


def _rows(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its last line."""
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise UserError(f"{path}: expected text in UTF-8, got byte 0x{wrong:02x} after line {reader.line_num}") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: expected CSV, got what cannot be read ({error})") from error


def _target_column(names: Sequence[str], target: str, path: Path) -> int:
    if not names:
        raise UserError(f"{path}: expected the names of the columns in the first row, got an empty file")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: expected columns with different names, got {twice[0]!r} twice")
    if target not in names:
        raise UserError(f"{path}: expected a column {target!r}, got {', '.join(map(repr, names))}")
    return names.index(target)


def _value(cell: str, absent: Collection[str]) -> float | str | None:
    text = cell.strip()
    if text.casefold() in absent:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    if "_" in text:  # Python reads 1_000 as a number
        return text
    return number if math.isfinite(number) else None
