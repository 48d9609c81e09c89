"""How fast a model adapts: accuracy at every step of streams that run through one task after the other."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from srwm.data.files import write_atomically
from srwm.fewshot.evaluate import Accuracy
from srwm.fewshot.runs import write_json


@dataclass(frozen=True)
class TaskAccuracy:
    """Accuracy within one task of a stream."""

    data: str
    total: Accuracy
    positions: tuple[Accuracy, ...]
    """at its first step, its second step..."""
    shots: tuple[Accuracy, ...]
    """where a class occurs for the first time in the task, for the second time..."""


@dataclass(frozen=True)
class Adaptation:
    """Accuracy over streams of some tasks in one order, each answer given before its label is known."""

    tasks: tuple[TaskAccuracy, ...]
    total: Accuracy

    @property
    def name(self) -> str:
        """Such as "omniglot-test, mini-imagenet-test"."""
        return ", ".join(task.data for task in self.tasks)


def measure(correct: Tensor, labels: Tensor, names: Sequence[str]) -> Adaptation:
    """From whether each answer was right, bool (n, T), and the labels, (n, T): tasks of T / len(names) steps each."""
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
    """Write `adaptation.json`, and the same numbers as a table in `adaptation.csv`."""
    write_json(folder / "adaptation.json", {"orders": [dataclasses.asdict(found) for found in adaptations]})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["order", "segment", "data", "over", "index", "accuracy", "interval", "streams"])
    writer.writerows(row for found in adaptations for row in _rows(found))
    write_atomically(folder / "adaptation.csv", text.getvalue().encode())


def _rows(found: Adaptation) -> Iterator[list[str | int | float]]:
    for segment, task in enumerate(found.tasks, start=1):
        for over, accuracies in (("total", (task.total,)), ("position", task.positions), ("shot", task.shots)):
            for index, accuracy in enumerate(accuracies, start=1):
                yield [found.name, segment, task.data, over, index, accuracy.mean, accuracy.interval, accuracy.episodes]
