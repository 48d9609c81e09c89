"""The learning rates that self-referential matrices choose for themselves, over the steps of an episode."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from srwm.fewshot.episodes import Episodes
from srwm.fewshot.figures.style import BLUE, COLUMNS, GREY, VERMILLION, figure_style
from srwm.fewshot.figures.trace import core_inputs
from srwm.fewshot.models.base import EpisodeModel


@torch.inference_mode()
def mean_learning_rates(model: EpisodeModel, features: Tensor, episodes: Episodes) -> dict[int, NDArray[np.float32]]:
    """Rates sigma(beta) at every labeled example, (S, H, 4), mean over episodes, by block of the stack counted from 1.

    features (I, F) are those of the images that the episodes point at. Empty where the model has no self-referential matrix.
    """
    support, labels = (part.to(features.device) for part in episodes[:2])
    read = core_inputs(model, features[support], labels)
    return {found.layer: found.rates().mean(0).float().cpu().numpy() for found in read}


def draw_learning_rates(rates: Mapping[int, NDArray[np.float32]], episodes: int, trained_support: int, path: Path) -> None:
    """Draw `mean_learning_rates` into a PNG: a row for each block, a panel for each block of columns, a line for each head."""
    with figure_style():
        figure = Figure(figsize=(13, 2.6 * len(rates) + 1.6), layout="constrained")
        figure.suptitle(
            f"How fast the matrix rewrites each part of itself: learning rates $\\sigma(\\beta)$, mean of {episodes} episodes"
        )
        panels = figure.subplots(len(rates), 4, sharex=True, sharey=True, squeeze=False)
        for row, (layer, values) in zip(panels, rates.items(), strict=True):
            steps = np.arange(1, len(values) + 1)
            for axes, name, column in zip(row, COLUMNS, range(4), strict=True):
                heads = axes.plot(steps, values[:, :, column], color=GREY, lw=0.8, alpha=0.6)
                mean = axes.plot(steps, values[:, :, column].mean(1), color=BLUE, lw=3)
                lines = {"each head": heads[0], "mean of the heads": mean[0]}
                if trained_support < len(steps):
                    lines["end of the longest episode in training"] = axes.axvline(
                        trained_support + 0.5, color=VERMILLION, linestyle="--"
                    )
                axes.set_title(f"block {layer}, {name}: {values[:, :, column].mean():.2f}", loc="left")
                axes.grid(alpha=0.3)
            row[0].set(ylim=(0, 1), ylabel="learning rate, 0 … 1")
        for axes in panels[-1]:
            axes.set(xlabel="labeled example", xlim=(0.5, None))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=len(lines))
        figure.savefig(path)
