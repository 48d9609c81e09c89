"""The pages of docs, and what their tables hold."""

import json
from pathlib import Path
from typing import Any

from srwm.fewshot.evaluation.evaluate import Accuracy

from .logs import LOGS

ROOT = Path(__file__).parents[2]


def texts(folder: Path) -> dict[str, str]:
    """The pages of a folder by name, without marks of bold type."""
    return {page.name: page.read_text().replace("**", "") for page in sorted(folder.glob("*.md"))}


PAGES = texts(ROOT / "docs")
RESULTS = texts(ROOT / "docs" / "results")
OVERVIEW = RESULTS.pop("README.md")
CORES = {
    "srwm": "`srwm` |",
    "srwm-detached": "`srwm`, no gradient",
    "srwm-softmax": "`srwm` with a softmax",
    "deltanet": "`deltanet`",
    "lstm": "`lstm` |",
    "none": "`none`",
}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def page_of(log: Path) -> str:
    """The page on results that links the archive of a log."""
    archive = f"](../logs/{log.relative_to(LOGS).parts[0]}.tar.xz)"
    (found,) = [text for text in RESULTS.values() if archive in text]
    return found


def overview(page: str) -> list[str]:
    """The row of the overview that links a page: what is measured, the matrix, what it is compared with, its result."""
    (found,) = [line for line in OVERVIEW.splitlines() if line.startswith("| [") and f"]({page})" in line]
    return cells(found)[2:6]


def table_cells(text: str) -> list[str]:
    """Of all tables of a page."""
    return [cell for line in text.splitlines() if line.startswith("|") for cell in cells(line)]


def cells(line: str) -> list[str]:
    """Of a row of a table."""
    return [cell.strip() for cell in line.split("|")[1:-1]]


def row(text: str, label: str) -> str:
    """The one row of a table that begins with a label."""
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {label}")]
    return found


def first_row(text: str, label: str) -> list[str]:
    """The cells of the first row that begins with a label."""
    return next(cells(line) for line in text.splitlines() if line.startswith(f"| {label}"))


def percent(measured: dict[str, Any]) -> str:
    return str(Accuracy(measured["mean"], measured["interval"], measured["episodes"]))
