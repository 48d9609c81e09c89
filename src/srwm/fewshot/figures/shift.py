"""The shift W - W_0 of one head over an episode, as a figure and as an animation."""

from pathlib import Path

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from srwm.fewshot.figures.style import label_name, show_change, show_image
from srwm.fewshot.figures.trace import EpisodeTrace
from srwm.training.figure_style import BLUE, GREEN, GREY, VERMILLION, figure_style, mark_chance

_PANELS = 6


def draw_shift(trace: EpisodeTrace, path: Path) -> None:
    """Draw the shift before, during and after the labeled examples of an episode, with the image just read above it.

    Args:
        trace: the episode.
        path: the file of the figure, a PNG.
    """
    steps = np.unique(np.linspace(0, trace.support, _PANELS).round().astype(int))
    limit = _limit(trace)
    with figure_style():
        figure = Figure(figsize=(2.9 * len(steps) + 0.8, 5), layout="constrained")
        figure.suptitle(f"The matrix updates itself with every example (ΔW = W - W₀ of {_place(trace)})")
        upper, lower = figure.subplots(2, len(steps), height_ratios=(1, 1.7), squeeze=False)
        for image, matrix, step in zip(upper, lower, steps, strict=True):
            if step == 0:
                image.axis("off")
                image.text(0.5, 0.5, "nothing\nshown yet", ha="center", va="center", color=GREY, transform=image.transAxes)
            else:
                show_image(image, trace.images[step - 1])
                image.set_title(f"example {step}: “{label_name(trace.labels[step - 1])}”")
            drawn = show_change(matrix, trace.shifts[step], limit)
            matrix.set_title(f"‖ΔW‖ = {trace.norm(step):.2f}")
        lower[0].set_ylabel("rows of W: input")
        figure.colorbar(drawn, ax=list(lower), label="ΔW")
        figure.savefig(path)


def animate_shift(trace: EpisodeTrace, path: Path) -> None:
    """Animate an episode: a frame before it, one for each labeled example, and one for each query.

    Each frame lasts a second and shows the image, the shift, and the prediction.

    Args:
        trace: the episode.
        path: the file of the animation, a GIF.
    """
    with figure_style():
        figure = Figure(figsize=(9.6, 4.6))
        FigureCanvasAgg(figure)
        writer = PillowWriter(fps=1)
        with writer.saving(figure, str(path), dpi=80):
            for frame in range(len(trace.images) + 1):
                figure.clear()
                _draw_frame(figure, trace, frame)
                writer.grab_frame()


def _draw_frame(figure: Figure, trace: EpisodeTrace, frame: int) -> None:
    step = min(frame, trace.support)
    grid = figure.add_gridspec(
        2, 2, width_ratios=(1, 2.1), height_ratios=(1.5, 1), left=0.07, right=0.9, top=0.8, bottom=0.1, hspace=0.45, wspace=0.14
    )
    figure.suptitle(_caption(trace, frame), x=0.03, ha="left")
    image, prediction = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    if frame == 0:
        image.axis("off")
        image.text(0.5, 0.5, "nothing\nshown yet", ha="center", va="center", color=GREY)
        prediction.axis("off")
    else:
        show_image(image, trace.images[frame - 1])
        _draw_prediction(prediction, trace, frame - 1)
    matrix = figure.add_subplot(grid[:, 1])
    limit = _limit(trace)
    drawn = show_change(matrix, trace.shifts[step], limit)
    matrix.set_title(f"ΔW = W - W₀ of {_place(trace)}, ‖ΔW‖ = {trace.norm(step):.2f}", fontsize=12)
    bar = figure.add_axes((0.915, 0.1, 0.012, 0.7))
    figure.colorbar(drawn, cax=bar, ticks=[-limit, 0, limit], format=lambda value, _: f"{value:.2g}")


def _caption(trace: EpisodeTrace, frame: int) -> str:
    if frame == 0:
        return "A new episode: the matrix is W₀, nothing is learned yet"
    label = label_name(trace.labels[frame - 1])
    if frame <= trace.support:
        return f"Example {frame} of {trace.support}: labeled “{label}”. The matrix updates itself."
    guess = int(trace.probabilities[frame - 1].argmax())
    verdict = "correct" if guess == trace.labels[frame - 1] else f"wrong, it is {label}"
    query, queries = frame - trace.support, len(trace.labels) - trace.support
    return f"Query {query} of {queries}: predicted “{label_name(guess)}”, {verdict}."


def _draw_prediction(axes: Axes, trace: EpisodeTrace, index: int) -> None:
    labels = sorted(set(trace.labels[: trace.support]))
    predicted, label = trace.probabilities[index, labels], trace.labels[index]
    colors = [
        GREEN if n == label else VERMILLION if a == predicted.max() else BLUE for n, a in zip(labels, predicted, strict=True)
    ]
    axes.bar(range(len(labels)), 100 * predicted, color=colors)
    axes.set(ylim=(0, 100), yticks=[0, 50, 100])
    every = -(-len(labels) // 10)
    axes.set_xticks(range(0, len(labels), every), [label_name(n) for n in labels[::every]])
    axes.set_title("predicted probability now, %", fontsize=11)
    mark_chance(axes, 100 / len(labels), "")


def _place(trace: EpisodeTrace) -> str:
    return f"block {trace.layer}, head {trace.head}"


def _limit(trace: EpisodeTrace) -> float:
    return float(np.abs(trace.shifts).max()) or 1.0
