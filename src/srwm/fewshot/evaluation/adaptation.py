"""Adaptation speed: accuracy at every step of streams that consist of one task after the other."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from srwm.errors import UserError
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.files import write_atomically
from srwm.training.runs import write_json


@dataclass(frozen=True)
class TaskAccuracy:
    """Accuracy within one task of a stream."""

    data: str
    total: Accuracy
    positions: tuple[Accuracy, ...]
    """at the first step of the task, the second step..."""
    shots: tuple[Accuracy, ...]
    """at the first occurrence of a class in the task, the second occurrence..."""


@dataclass(frozen=True)
class Adaptation:
    """Accuracy over streams of tasks in one order. Each prediction is made before the model gets its label."""

    tasks: tuple[TaskAccuracy, ...]
    total: Accuracy

    @property
    def name(self) -> str:
        """The tasks in order, such as "omniglot-test, mini-imagenet-test"."""
        return ", ".join(task.data for task in self.tasks)


def measure(correct: Tensor, labels: Tensor, names: Sequence[str]) -> Adaptation:
    """Accuracy at every step and shot of streams.

    Args:
        correct: whether each prediction is right, bool (n, T).
        labels: int64 (n, T).
        names: the names of the tasks, of T / len(names) steps each.

    Returns:
        The accuracies.
    """
    tasks = []
    for name, right, shown in zip(names, *(part.chunk(len(names), dim=1) for part in (correct.double(), labels)), strict=True):
        occurrence = F.one_hot(shown).cumsum(1).gather(2, shown[..., None])[..., 0]
        shots = [occurrence == shot for shot in range(1, int(occurrence.max()) + 1)]
        tasks.append(
            TaskAccuracy(
                data=name,
                total=Accuracy.of(right.mean(1)),
                positions=tuple(Accuracy.of(at_step) for at_step in right.unbind(1)),
                shots=tuple(Accuracy.of((right * at).sum(1) / at.sum(1)) for at in shots),
            )
        )
    return Adaptation(tuple(tasks), Accuracy.of(correct.double().mean(1)))


def write_adaptations(folder: Path, adaptations: Sequence[Adaptation]) -> None:
    """Write `adaptation.json`, and the same numbers as a table in `adaptation.csv`.

    Args:
        folder: the run folder.
        adaptations: the accuracies, one entry for each order of the tasks.
    """
    write_json(folder / "adaptation.json", {"orders": [dataclasses.asdict(found) for found in adaptations]})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["order", "segment", "data", "over", "index", "accuracy", "interval", "streams"])
    writer.writerows(row for found in adaptations for row in _rows(found))
    write_atomically(folder / "adaptation.csv", text.getvalue().encode())


def read_adaptations(folder: Path) -> list[dict[str, Any]]:
    """Read `adaptation.json`.

    Args:
        folder: the run folder.

    Returns:
        The entries that `write_adaptations` wrote, one for each order of the tasks.

    Raises:
        UserError: the file is missing or not readable.
    """
    path = folder / "adaptation.json"
    try:
        orders: list[dict[str, Any]] = json.loads(path.read_text())["orders"]
        accuracies = [at for order in orders for task in order["tasks"] for at in (order["total"], *task["positions"])]
        if not accuracies or not all(isinstance(at[part], float | int) for at in accuracies for part in ("mean", "interval")):
            raise ValueError("no accuracies")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; srwm fewshot evaluate {folder} writes it for a run on streams") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not readable ({error})") from error
    return orders


def _rows(found: Adaptation) -> Iterator[list[str | int | float]]:
    for segment, task in enumerate(found.tasks, start=1):
        for over, accuracies in (("total", (task.total,)), ("position", task.positions), ("shot", task.shots)):
            for index, accuracy in enumerate(accuracies, start=1):
                yield [found.name, segment, task.data, over, index, accuracy.mean, accuracy.interval, accuracy.episodes]
