"""The style of all figures: sizes, a palette for color-blind readers, legends, chance."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import fill
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""The palette of Okabe and Ito (2008)."""
GREY = "#767676"

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
    """A context with the Matplotlib settings of all figures."""
    with matplotlib.rc_context(_SETTINGS):
        yield


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
