"""Learning curves of one or several runs."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from srwm.fewshot.config import TrainConfig
from srwm.fewshot.protocols.registry import read_config
from srwm.training.figure_style import COLORS, GREY, figure_style, legend_below, mark_chance
from srwm.training.figures import check_figure
from srwm.training.metrics import check_columns, read_metrics
from srwm.training.runs import short_names

_TICKS = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 100)
_MARGIN = 0.2
"""Distance from 0 and 100 %, in percent, at which accuracies are clipped so that log odds stay finite."""


def draw_learning_curves(folders: Sequence[Path], path: Path) -> None:
    """Draw accuracy and loss over minutes of training, with a color for each run and chance marked.

    The axis of accuracy has a log-odds scale, on which 98 and 99 % are about as far apart as 68 and 80 %. Minutes are of CPU
    time if every run has a budget in CPU time, else of wall-clock time. A run that is given twice is drawn once. Thin lines
    are training metrics, points are validations with 95 % intervals.

    Args:
        folders: the run folders.
        path: the file of the figure.

    Raises:
        UserError: a folder is not a run, its metrics lack a column, or as `check_figure`.
    """
    check_figure(path)
    folders = list({folder.resolve(): folder for folder in folders}.values())
    configs = [read_config(folder) for folder in folders]
    over, unit = ("cpu_minutes", "CPU minutes") if all(c.cpu_minutes for c in configs) else ("minutes", "minutes")
    ways = sorted({config.validation_ways or config.model.n_way for config in configs})
    with figure_style():
        figure = Figure(figsize=(12, 5.4 + 0.15 * len(folders)), layout="constrained")
        accuracy, loss = figure.subplots(1, 2)
        lines: dict[str, Line2D] = {}
        for folder, name, color in zip(folders, short_names(folders), COLORS * len(folders), strict=False):
            lines |= _draw_run(accuracy, loss, folder, name, over, color)
        for n_way in ways:
            mark_chance(accuracy, 100 / n_way, f"chance, {100 / n_way:.0f} %")
        guessing = sorted({_loss_of_guessing(config) for config in configs})
        for nats in guessing:
            mark_chance(loss, nats, f"chance, {nats:.2f} nats")
        top = max((point for line in accuracy.lines for point in line.get_ydata()), default=100.0)
        accuracy.set_yscale("function", functions=(_log_odds, _percent))
        accuracy.set(ylabel="accuracy, %", ylim=(0.7 * 100 / max(ways), min(100.0, _percent(_log_odds(top) + 0.2))))
        low, high = accuracy.get_ylim()
        accuracy.set_yticks(ticks := [tick for tick in _TICKS if low <= tick <= high], [f"{tick:g}" for tick in ticks])
        loss.set(ylabel="training loss, nats", ylim=(0, 1.25 * guessing[-1]))
        for axes in (accuracy, loss):
            axes.set(xlabel=f"{unit} of training", xlim=(0, None))
            axes.grid(alpha=0.3)
        accuracy.set_title("How well it learns new classes", loc="left")
        loss.set_title("What training minimizes", loc="left")
        lines["thin: training"] = Line2D([], [], color=GREY, lw=1)
        lines["points: validation on new classes, 95 % interval"] = Line2D([], [], color=GREY, lw=2, marker="o")
        legend_below(figure, lines)
        figure.savefig(path)


def draw_learning_curve(folder: Path) -> Path:
    """Draw the learning curves of one run into its folder.

    Args:
        folder: the run folder.

    Returns:
        The path of the figure, `learning_curve.png`.
    """
    path = folder / "learning_curve.png"
    draw_learning_curves([folder], path)
    return path


def _log_odds(percent: Any) -> Any:
    """Log odds of a percentage, which is first clipped so that they are finite."""
    percent = np.clip(percent, 0, 100)
    return np.log((percent + _MARGIN) / (100 + _MARGIN - percent))


def _percent(log_odds: Any) -> Any:
    return (100 + 2 * _MARGIN) / (1 + np.exp(-log_odds)) - _MARGIN


def _loss_of_guessing(config: TrainConfig) -> float:
    """Cross-entropy in training, in nats, the mean over its numbers of classes."""
    ways = range(config.min_ways or config.model.n_way, config.model.n_way + 1)
    return sum(map(math.log, ways)) / len(ways)


def _draw_run(accuracy: Axes, loss: Axes, folder: Path, name: str, over: str, color: str) -> dict[str, Line2D]:
    rows = read_metrics(folder)
    check_columns(folder, rows, over, "train_accuracy", "train_loss")
    trained: dict[str, Any] = {"color": color, "lw": 1, "alpha": 0.7}
    minutes = [row[over] for row in rows]
    accuracy.plot(minutes, [100 * row["train_accuracy"] for row in rows], **trained)
    loss.plot(minutes, [row["train_loss"] for row in rows], **trained)
    validated = [row for row in rows if "val_accuracy" in row]
    check_columns(folder, validated, "val_interval")
    accuracy.errorbar(
        [row[over] for row in validated],
        [100 * row["val_accuracy"] for row in validated],
        [100 * row["val_interval"] for row in validated],
        color=color,
        lw=2,
        marker="o",
        capsize=3,
    )
    text = f"{name}, {rows[-1]['step'] if rows else 0:,.0f} steps"
    if validated:
        text += f", best {100 * max(row['val_accuracy'] for row in validated):.1f} %"
    return {text: Line2D([], [], color=color, lw=3)}
