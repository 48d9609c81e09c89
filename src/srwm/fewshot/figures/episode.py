"""A figure of one episode: labeled examples, queries with predictions, and the change of a matrix."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srwm.fewshot.figures.style import label_name, show_change, show_image
from srwm.fewshot.figures.trace import EpisodeTrace
from srwm.training.figure_style import GREEN, VERMILLION, figure_style


def draw_episode(trace: EpisodeTrace, path: Path, title: str) -> None:
    """Draw an episode.

    Above: the support in the order in which the model reads it, with its labels, and the queries with the model's predictions.
    Below: the matrix of the traced head before and after the support, and the difference.

    Args:
        trace: the episode.
        path: the file of the figure; its suffix is its format.
        title: the title of the figure.
    """
    with figure_style():
        figure = Figure(figsize=(12, 8.4), layout="constrained")
        figure.suptitle(title)
        parts: Any = figure.subfigures(3, 1, height_ratios=(1.15, 2.1, 1.9))
        upper, middle, lower = parts
        upper.suptitle("labeled examples, each shown once", x=0.01, ha="left", fontsize=12)
        for index, axes in enumerate(upper.subplots(1, trace.support, squeeze=False)[0]):
            _picture(axes, trace, index, f"this is {label_name(trace.labels[index])}", "black")
        middle.suptitle("queries, and the model's predictions", x=0.01, ha="left", fontsize=12)
        queries = range(trace.support, len(trace.labels))
        grid = middle.subplots(2, (len(queries) + 1) // 2, squeeze=False).flatten()
        for axes, index in zip(grid, queries, strict=False):
            guess, label = int(trace.probabilities[index].argmax()), trace.labels[index]
            verdict = "" if guess == label else f", is {label_name(label)}"
            prediction = f"{label_name(guess)} {100 * trace.probabilities[index, guess]:.0f} %{verdict}"
            _picture(axes, trace, index, prediction, GREEN if guess == label else VERMILLION)
        for axes in grid[len(queries) :]:
            axes.axis("off")
        text = f"the matrix before and after the examples (block {trace.layer}, head {trace.head})"
        lower.suptitle(text, x=0.01, ha="left", fontsize=12)
        _draw_matrices(lower, trace)
        figure.savefig(path)


def _draw_matrices(figure: Any, trace: EpisodeTrace) -> None:
    before, after, change = panels = figure.subplots(1, 3)
    written = trace.shifts[-1]
    limit = float(np.abs([trace.weight, trace.weight + written]).max()) or 1.0
    whole = show_change(before, trace.weight, limit)
    show_change(after, trace.weight + written, limit)
    changed = show_change(change, written, float(np.abs(written).max()) or 1.0)
    figure.colorbar(whole, ax=[before, after])
    figure.colorbar(changed, ax=change)
    examples = "one example" if trace.support == 1 else f"{trace.support} examples"
    titles = (f"before: W₀, ‖W₀‖ = {np.linalg.norm(trace.weight):.2f}", f"after {examples}: W")
    for axes, title in zip(panels, (*titles, f"change: W - W₀, norm {trace.norm(trace.support):.2f}"), strict=True):
        axes.set_title(title, fontsize=11)
    before.set_ylabel("rows of W: input", fontsize=11)


def _picture(axes: Axes, trace: EpisodeTrace, index: int, text: str, color: str) -> None:
    show_image(axes, trace.images[index])
    axes.set_title(text, color=color, fontsize=12)
    axes.spines[:].set(color=color, linewidth=1.5)
