"""The style of all figures: sizes, a palette for color-blind readers, images, names of labels and columns."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""The palette of Okabe and Ito (2008)."""
GREY = "#767676"
CHANGES = "RdBu_r"
"""The color map of signed values: blue below zero, white at zero, red above."""
COLUMNS = ("output y", "query q", "key k", "rates β")
"""The blocks of columns of a self-referential matrix."""

_SETTINGS: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 13,
    "figure.titlesize": 15,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 120,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """A context with the Matplotlib settings of all figures.

    Returns:
        The context.
    """
    with matplotlib.rc_context(_SETTINGS):
        yield


def label_name(label: int) -> str:
    """The displayed name of a label: A, B, C ... Z, then 27, 28 ...

    Args:
        label: the label, from 0.

    Returns:
        The name.
    """
    return chr(ord("A") + label) if label < 26 else str(label + 1)


def show_image(axes: Axes, image: NDArray[np.uint8]) -> None:
    """Show one image: in color if it has three channels, else its first channel, inverted to dark ink on white.

    Args:
        axes: where it is drawn.
        image: (C, H, W) uint8.
    """
    if len(image) == 3:
        axes.imshow(image.transpose(1, 2, 0))
    else:
        axes.imshow(image[0], cmap="gray_r", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)


def show_change(axes: Axes, shift: NDArray[np.float32], limit: float) -> Any:
    """Draw a heat map of a shift, white at zero, with its blocks of columns marked.

    Args:
        axes: where it is drawn.
        shift: W - W_0, (E, D + 2E + 4).
        limit: the color scale goes from -limit to limit.

    Returns:
        Matplotlib's image, for a color bar.
    """
    drawn = axes.imshow(shift, cmap=CHANGES, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    inputs, columns = shift.shape
    outputs = columns - 2 * inputs - 4
    edges = [0, outputs, outputs + inputs, outputs + 2 * inputs, columns]
    for edge in edges[1:-1]:
        axes.axvline(edge - 0.5, color="black", linewidth=0.8)
    axes.set_xticks([(a + b - 1) / 2 for a, b in pairwise(edges)], [*COLUMNS[:3], "β"])
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    return drawn


def legend_below(figure: Figure, lines: Mapping[str, Any], title: str | None = None, most: int = 2) -> None:
    """A legend below the panels of a figure, in as many columns as fit into its width; longer texts are wrapped.

    Args:
        figure: a figure with constrained layout.
        lines: the lines by their text.
        title: the title of the legend.
        most: the largest number of columns.
    """
    room = figure.bbox.width - 20
    texts = list(lines)
    for columns in range(min(len(lines), most), 0, -1):
        legend = figure.legend(list(lines.values()), texts, loc="outside lower center", ncols=columns, title=title)
        width = legend.get_window_extent().width
        if width <= room:
            return
        legend.remove()
    characters = int(max(map(len, texts)) * room / width) - 6  # the sample of the line takes the width of a few
    wrapped = [fill(text, max(10, characters)) for text in texts]
    figure.legend(list(lines.values()), wrapped, loc="outside lower center", title=title)


def mark_chance(axes: Axes, chance: float, text: str) -> None:
    """Draw a dashed, labeled line at chance.

    Args:
        axes: where it is drawn.
        chance: the value.
        text: the label.
    """
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1.2)
    axes.annotate(
        text,
        (1, chance),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        color=GREY,
    )
