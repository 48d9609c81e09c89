"""The learning rates of self-referential matrices over the steps of an episode."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from srwm.fewshot.episodes import Episodes
from srwm.fewshot.figures.style import COLUMNS
from srwm.fewshot.figures.trace import core_inputs
from srwm.fewshot.models.base import EpisodeModel
from srwm.training.figure_style import BLUE, GREEN, GREY, ORANGE, VERMILLION, figure_style, legend_below

_LEAST_SPAN = 0.02
"""The smallest range of an axis of learning rates, so that negligible differences are not magnified."""


@torch.inference_mode()
def mean_learning_rates(model: EpisodeModel, features: Tensor, episodes: Episodes) -> dict[int, NDArray[np.float32]]:
    """Learning rates sigma(beta) at every labeled example, averaged over episodes.

    Args:
        model: the model, in evaluation mode.
        features: (I, F) of the images of the episodes.
        episodes: episodes over these images.

    Returns:
        (S, H, 4) for each block of the stack, counted from 1; empty if the model has no self-referential matrix.
    """
    support, labels = (part.to(features.device) for part in episodes[:2])
    read = core_inputs(model, features[support], labels)
    return {found.layer: found.rates().mean(0).float().cpu().numpy() for found in read}


def draw_learning_rates(rates: Mapping[int, NDArray[np.float32]], episodes: int, trained_support: int, path: Path) -> None:
    """Draw `mean_learning_rates`: a row for each block, a panel for each block of columns, a line for each head.

    The range of each panel fits its lines; the heads with the lowest and the highest mean are named.

    Args:
        rates: mean learning rates (S, H, 4) by block.
        episodes: number of episodes that were averaged.
        trained_support: number of labeled examples in the longest training episode, marked if the lines are longer.
        path: the file of the figure.
    """
    with figure_style():
        figure = Figure(figsize=(13, 3 * len(rates) + 1.6), layout="constrained")
        figure.suptitle(f"How strongly each example rewrites the matrix: learning rates $\\sigma(\\beta)$, {episodes} episodes")
        panels = figure.subplots(len(rates), 4, sharex=True, squeeze=False)
        lines: dict[str, Line2D] = {}
        for row, (layer, values) in zip(panels, rates.items(), strict=True):
            for axes, name, heads in zip(row, COLUMNS, values.transpose(2, 1, 0), strict=True):
                lines |= _draw_heads(axes, heads)
                low, high = heads.mean(1).min(), heads.mean(1).max()
                title = f"block {layer}, {name}\nmean {heads.mean():.2f}, heads {low:.2f} to {high:.2f}"
                axes.set_title(title, loc="left", fontsize=11)
                if trained_support < heads.shape[1]:
                    lines["end of the longest episode in training"] = axes.axvline(
                        trained_support + 0.5, color=VERMILLION, linestyle="--"
                    )
            row[0].set_ylabel("learning rate")
        for axes in panels[-1]:
            axes.set(xlabel="labeled example", xlim=(0.5, None))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        legend_below(figure, lines, most=5)
        figure.savefig(path)


def _draw_heads(axes: Axes, heads: NDArray[np.float32]) -> dict[str, Line2D]:
    """Rates (H, S) of one block of columns: a line for each head, and their mean."""
    steps = np.arange(1, heads.shape[1] + 1)
    each = axes.plot(steps, heads.T, color=GREY, lw=0.8, alpha=0.6)
    (mean,) = axes.plot(steps, heads.mean(0), color=BLUE, lw=3)
    lines = {"each head": each[0], "mean of the heads": mean}
    order = heads.mean(1).argsort()
    if len(order) > 1:
        for head, color, text in (
            (order[-1], ORANGE, "head of the highest mean"),
            (order[0], GREEN, "head of the lowest mean"),
        ):
            (lines[text],) = axes.plot(steps, heads[head], color=color, lw=1.5)
            axes.annotate(str(head + 1), (steps[-1], heads[head, -1]), xytext=(3, 0), textcoords="offset points", color=color)
    low, high = float(heads.min()), float(heads.max())
    margin = max(0.05 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
    axes.set_ylim(max(0.0, low - margin), min(1.0, high + margin))
    axes.grid(alpha=0.3)
    return lines
