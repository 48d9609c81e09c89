"""Figures of online learners: accuracy along a stream, and around its drifts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from srwm.streams.recovery import BEFORE, WINDOW
from srwm.training.figure_style import COLORS, GREY, figure_style, legend_below
from srwm.training.figures import check_figure

_STYLES = ("-", "--", "-.", ":")
_POINTS = 2_000
"""Largest number of points of a line."""
_SHOWN = 700
"""Samples that are shown after a drift."""


def draw_rolling(curves: Mapping[str, NDArray[np.float64]], window: int, path: Path, title: str) -> None:
    """Draw rolling accuracies along one stream.

    Args:
        curves: (T,) each, 0 to 1, by the name of the learner.
        window: the samples over which they are taken, for the label.
        path: the file of the figure.
        title: its title.

    Raises:
        UserError: as `check_figure`.
    """
    check_figure(path)
    with figure_style():
        figure = Figure(figsize=(10, 5 + 0.15 * len(curves)), layout="constrained")
        axes = figure.subplots()
        lines = {}
        for number, (name, curve) in enumerate(curves.items()):
            shown = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), _POINTS)).astype(int))
            color, style = _look(number)
            (lines[name],) = axes.plot(shown + 1, 100 * curve[shown], style, color=color, lw=1.6)
        axes.set(xlabel="sample", ylabel=f"accuracy over the last {window:,} samples, %", ylim=(None, 101))
        _finish(axes, title)
        if len(lines) > 1:
            legend_below(figure, lines)
        figure.savefig(path)


def draw_drift(around: Mapping[str, NDArray[np.bool_]], path: Path, title: str) -> None:
    """Draw the mean accuracy of learners around abrupt drifts, rolling over 25 samples.

    Args:
        around: (N, 1200) each, the answers around drifts as `around_drifts` gives them, by the name of the learner.
        path: the file of the figure.
        title: its title.

    Raises:
        UserError: as `check_figure`.
    """
    check_figure(path)
    with figure_style():
        figure = Figure(figsize=(10, 5.6 + 0.15 * len(around)), layout="constrained")
        axes = figure.subplots()
        lines = {}
        positions = np.arange(WINDOW - 1 - BEFORE, _SHOWN)
        for number, (name, answers) in enumerate(around.items()):
            accuracy = np.convolve(answers.mean(0), np.full(WINDOW, 1 / WINDOW), mode="valid")
            color, style = _look(number)
            (lines[name],) = axes.plot(positions, 100 * accuracy[: len(positions)], style, color=color, lw=1.8)
        axes.axvline(0, color=GREY, linestyle="--", linewidth=1.2)
        axes.set(xlabel="samples since the drift", ylabel=f"accuracy over the last {WINDOW} samples, %")
        _finish(axes, title)
        legend_below(figure, lines)
        figure.savefig(path)


def _look(number: int) -> tuple[str, str]:
    """Color and style of a line: the palette, then the palette dashed."""
    turn, color = divmod(number, len(COLORS))
    return COLORS[color], _STYLES[turn % len(_STYLES)]


def _finish(axes: Axes, title: str) -> None:
    axes.grid(alpha=0.3)
    axes.set_title(title, loc="left")
