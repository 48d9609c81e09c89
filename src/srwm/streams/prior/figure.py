"""A figure of random streams."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from srwm.streams.prior.config import PriorConfig
from srwm.streams.prior.sample import draw_streams
from srwm.training.figure_style import COLORS, figure_style
from srwm.training.figures import check_figure

_COLUMNS = 6
_ROWS = 3
_LENGTH = 600


def draw_prior(config: PriorConfig, path: Path, seed: int = 0) -> None:
    """Draw streams with two features: the samples of the first and of the last third, and the classes over time.

    Args:
        config: the prior; the number of features is set to two, and that of classes to six or fewer.
        path: the file of the figure.
        seed: the seed of the streams.

    Raises:
        UserError: as `check_figure`.
    """
    check_figure(path)
    config = replace(config, max_features=2, max_classes=min(config.max_classes, len(COLORS)))
    streams = draw_streams(config, seed, _ROWS * _COLUMNS, _LENGTH)
    third = _LENGTH // 3
    look = {"cmap": ListedColormap(COLORS), "vmin": -0.5, "vmax": len(COLORS) - 0.5}
    with figure_style():
        figure = Figure(figsize=(2.6 * _COLUMNS, 3.9 * _ROWS), layout="constrained")
        parts: Any = figure.subfigures(_ROWS, _COLUMNS)
        for part, x, labels, drifts in zip(parts.flat, streams.x, streams.labels, streams.drifts, strict=True):
            panels = part.subplot_mosaic([["first", "last"], ["time", "time"]], height_ratios=[5, 1])
            part.suptitle("with drift" if drifts else "without drift", fontsize=11)
            for name, when in (("first", slice(0, third)), ("last", slice(_LENGTH - third, _LENGTH))):
                panels[name].scatter(*x[when].T, c=labels[when], s=4, **look)
                panels[name].set_title(f"{name} third", fontsize=9)
            panels["time"].imshow(labels[None], aspect="auto", interpolation="nearest", **look)
            for axes in panels.values():
                axes.set(xticks=[], yticks=[])
        figure.suptitle(f"Random streams: two features, a color for each class; below, the classes of {_LENGTH} samples")
        figure.savefig(path)
