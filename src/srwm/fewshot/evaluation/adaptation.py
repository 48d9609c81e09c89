"""How fast a model adapts: accuracy at every step of streams that run through one task after the other."""

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
from srwm.fewshot.config import read_config
from srwm.fewshot.evaluation.evaluate import Accuracy
from srwm.files import write_atomically
from srwm.training.figures import check_figure
from srwm.training.runs import short_names, write_json


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


def draw_adaptation(runs: Sequence[Path], path: Path) -> None:
    """Draw the accuracy at every position of the test streams of some runs, one panel for each order of the tasks.

    Bands are 95 % intervals; dashed lines mark chance and where a task begins. Runs are told apart by their core, or by their
    folders. Raises UserError where a run has not been tested on streams, or on others than the first run, and as
    `check_figure`.
    """
    from matplotlib.figure import Figure

    from srwm.fewshot.figures.style import mark_chance

    check_figure(path)
    if not runs:
        raise UserError("runs: expected at least one run folder, got none")
    models = [read_config(folder).model for folder in runs]
    cores = [model.stack.core for model in models]
    measured = [_read(folder) for folder in runs]
    shapes = [[[(task["data"], len(task["positions"])) for task in order["tasks"]] for order in found] for found in measured]
    for folder, shape in zip(runs, shapes, strict=True):
        if shape != shapes[0]:
            raise UserError(f"{folder}: tested on other streams than {runs[0]}; they do not go into one figure")
    names = cores if len(set(cores)) == len(cores) else short_names(runs)
    figure = Figure(figsize=(11, 1 + 3.2 * len(measured[0])), layout="constrained")
    figure.suptitle("How fast it adapts to another task: each answer is given before its label is known")
    panels = figure.subplots(len(measured[0]), 1, squeeze=False)[:, 0]
    for axes, *orders in zip(panels, *measured, strict=True):
        for name, order in zip(names, orders, strict=True):
            accuracies = [accuracy for task in order["tasks"] for accuracy in task["positions"]]
            means, intervals = ([100 * accuracy[part] for accuracy in accuracies] for part in ("mean", "interval"))
            (line,) = axes.plot(range(1, len(means) + 1), means, lw=1.3, label=f"{name}: {100 * order['total']['mean']:.1f} %")
            low, high = ([m + sign * i for m, i in zip(means, intervals, strict=True)] for sign in (-1, 1))
            axes.fill_between(range(1, len(means) + 1), low, high, color=line.get_color(), alpha=0.2, lw=0)
        begins = 1
        for task in orders[0]["tasks"]:
            if begins > 1:
                axes.axvline(begins - 0.5, color="black", ls="--", lw=1)
            axes.annotate(task["data"], (begins, 1.01), xycoords=axes.get_xaxis_transform(), va="bottom")
            begins += len(task["positions"])
        axes.set(xlabel="position in the stream", ylabel="accuracy, %", xlim=(0.5, begins - 0.5), ylim=(0, 100))
        for chance in sorted({100 / model.n_way for model in models}):
            mark_chance(axes, chance, f"chance, {chance:.0f} %")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / "adaptation.json"
    try:
        orders: list[dict[str, Any]] = json.loads(path.read_text())["orders"]
        accuracies = [at for order in orders for task in order["tasks"] for at in (order["total"], *task["positions"])]
        if not accuracies or not all(isinstance(at[part], float | int) for at in accuracies for part in ("mean", "interval")):
            raise ValueError("no accuracies")
    except FileNotFoundError as error:
        raise UserError(f"{path}: not there; srwm fewshot evaluate {folder} makes it for a run on streams") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not readable ({error})") from error
    return orders


def _rows(found: Adaptation) -> Iterator[list[str | int | float]]:
    for segment, task in enumerate(found.tasks, start=1):
        for over, accuracies in (("total", (task.total,)), ("position", task.positions), ("shot", task.shots)):
            for index, accuracy in enumerate(accuracies, start=1):
                yield [found.name, segment, task.data, over, index, accuracy.mean, accuracy.interval, accuracy.episodes]
