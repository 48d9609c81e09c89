"""Learning curves of runs, and their accuracy over the position in a sequence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from srwm.sequences.config import TrainConfig
from srwm.sequences.report import longest_bin, read_test
from srwm.training.figure_style import COLORS, GREY, figure_style, legend_below
from srwm.training.figures import check_figure
from srwm.training.metrics import check_columns, read_metrics
from srwm.training.runs import read_config_of, short_names

_SMOOTHED = 0.03
"""Positions over which accuracy is averaged, as a fraction of their number so far."""


def draw_curves(folders: Sequence[Path], path: Path) -> None:
    """Draw the answers of validation over CPU minutes, and those of the test over the position, with a color for each run.

    Args:
        folders: the run folders, measured by `srwm sequences evaluate`; one that is given twice is drawn once.
        path: the file of the figure.

    Raises:
        UserError: a folder is not a run, has not been measured, its metrics lack a column, or as `check_figure`.
    """
    check_figure(path)
    folders = list({folder.resolve(): folder for folder in folders}.values())
    configs = [read_config_of(folder, TrainConfig) for folder in folders]
    tests = [longest_bin(read_test(folder)) for folder in folders]
    with figure_style():
        figure = Figure(figsize=(12, 5 + 0.15 * len(folders)), layout="constrained")
        left, right = figure.subplots(1, 2)
        lines = {}
        for number, (folder, name) in enumerate(zip(folders, short_names(folders), strict=True)):
            color, style = COLORS[number % len(COLORS)], ("-", "--", "-.", ":")[number // len(COLORS) % 4]
            rows = [row for row in read_metrics(folder) if "val_tokens" in row]
            check_columns(folder, rows, "cpu_minutes")
            left.plot([row["cpu_minutes"] for row in rows], [100 * row["val_tokens"] for row in rows], style, color=color, lw=2)
            accuracy = smoothed(tests[number]["by_position"])
            right.plot(np.arange(1, len(accuracy) + 1), 100 * accuracy, style, color=color, lw=2)
            lines[name] = Line2D([], [], color=color, ls=style, lw=2)
        for length in sorted({config.task.max_length for config in configs}):
            _mark_training(right, length)
        right.set_xscale("log", base=2)
        right.xaxis.set_major_formatter("{x:.0f}")
        left.set(xlabel="CPU minutes of training", xlim=(0, None))
        left.set_title("Validation: longer than in training", loc="left")
        right.set(xlabel="position in the sequence")
        right.set_title("Test, after training", loc="left")
        for axes in (left, right):
            axes.set(ylabel="right answers, %", ylim=(0, 102))
            axes.grid(alpha=0.3)
        legend_below(figure, lines)
        figure.savefig(path)


def smoothed(accuracy: Sequence[float]) -> NDArray[Any]:
    """Means over the last 3 % of the positions so far, which are few at the beginning.

    Args:
        accuracy: accuracy at each position.

    Returns:
        The means (T,).
    """
    total = np.concatenate([[0.0], np.cumsum(accuracy)])
    ends = np.arange(1, len(total))
    starts = ends - np.maximum(1, (_SMOOTHED * ends).astype(int))
    means: NDArray[Any] = (total[ends] - total[starts]) / (ends - starts)
    return means


def _mark_training(axes: Axes, length: int) -> None:
    axes.axvline(length, color=GREY, linestyle="--", linewidth=1.2)
    axes.annotate(
        f"trained to {length}",
        (length, 0),
        xycoords=("data", "axes fraction"),
        xytext=(4, 6),
        textcoords="offset points",
        color=GREY,
    )
