"""Accuracy over the positions of streams, for one or several runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srwm.errors import UserError
from srwm.fewshot.evaluation.adaptation import read_adaptations
from srwm.fewshot.protocols.registry import read_config
from srwm.training.figure_style import COLORS, figure_style, mark_chance
from srwm.training.figures import check_figure
from srwm.training.runs import short_names


def draw_adaptation(runs: Sequence[Path], path: Path) -> None:
    """Draw the accuracy at every position of the test streams of some runs, one panel for each order of the tasks.

    Bands are 95 % intervals; dashed lines mark chance and where a task begins. The legend names runs by their core where
    cores differ, else by their folders.

    Args:
        runs: run folders, evaluated on the same streams.
        path: the file of the figure; its suffix is its format.

    Raises:
        UserError: a run has not been evaluated on streams, or on other streams than the first run; there is no run; or as
            `check_figure`.
    """
    check_figure(path)
    if not runs:
        raise UserError("runs: expected at least one run folder, got none")
    models = [read_config(folder).model for folder in runs]
    measured = [read_adaptations(folder) for folder in runs]
    _check_same_streams(runs, measured)
    cores = [model.stack.core for model in models]
    names = cores if len(set(cores)) == len(cores) else short_names(runs)
    with figure_style():
        figure = Figure(figsize=(11, 1 + 3.4 * len(measured[0])), layout="constrained")
        figure.suptitle("How fast a model adapts to another task: each prediction precedes its label")
        panels = figure.subplots(len(measured[0]), 1, squeeze=False)[:, 0]
        for axes, *orders in zip(panels, *measured, strict=True):
            _draw_order(axes, names, orders)
            for chance in sorted({100 / model.n_way for model in models}):
                mark_chance(axes, chance, f"chance, {chance:.0f} %")
        figure.savefig(path)


def _check_same_streams(runs: Sequence[Path], measured: list[list[dict[str, Any]]]) -> None:
    shapes = [[[(task["data"], len(task["positions"])) for task in order["tasks"]] for order in found] for found in measured]
    for folder, shape in zip(runs, shapes, strict=True):
        if shape != shapes[0]:
            raise UserError(f"{folder}: tested on other streams than {runs[0]}, so both cannot be drawn in one figure")


def _draw_order(axes: Axes, names: Sequence[str], orders: Sequence[dict[str, Any]]) -> None:
    """One order of the tasks: a line for each run."""
    for name, order, color in zip(names, orders, COLORS * len(orders), strict=False):
        accuracies = [accuracy for task in order["tasks"] for accuracy in task["positions"]]
        means, intervals = ([100 * accuracy[part] for accuracy in accuracies] for part in ("mean", "interval"))
        positions = range(1, len(means) + 1)
        axes.plot(positions, means, color=color, lw=1.3, label=f"{name}: {100 * order['total']['mean']:.1f} %")
        low, high = ([m + sign * i for m, i in zip(means, intervals, strict=True)] for sign in (-1, 1))
        axes.fill_between(positions, low, high, color=color, alpha=0.2, lw=0)
    begins = 1
    for task in orders[0]["tasks"]:
        if begins > 1:
            axes.axvline(begins - 0.5, color="black", ls="--", lw=1)
        axes.annotate(task["data"], (begins, 1.01), xycoords=axes.get_xaxis_transform(), va="bottom")
        begins += len(task["positions"])
    axes.set(xlabel="position in the stream", ylabel="accuracy, %", xlim=(0.5, begins - 0.5), ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
