"""Images in figures, names of labels, and heat maps of self-referential matrices."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

CHANGES = "RdBu_r"
"""The color map of signed values: blue below zero, white at zero, red above."""
COLUMNS = ("output y", "query q", "key k", "rates β")
"""The blocks of columns of a self-referential matrix."""


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
