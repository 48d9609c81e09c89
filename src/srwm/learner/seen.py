"""What a learner says about images that it cannot read, or not as they were meant."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srwm.data.drawings.ink import InkReport

PHOTOGRAPH = 0.15
"""colorfulness from which an image is called a photograph; of miniImageNet's photographs, 70 % have more"""


MOST_COMPONENTS = 16
"""most strokes apart of a character; Omniglot's validation characters have at most 2, and noise hundreds"""


def blank(reports: Sequence[InkReport]) -> NDArray[np.bool_]:
    """Which images have no ink.

    Args:
        reports: One for each image.

    Returns:
        (n,).
    """
    return np.array([report.components == 0 for report in reports], dtype=bool)


def illegible(reports: Sequence[InkReport]) -> NDArray[np.bool_]:
    """Which images hold no character: those without ink, and those with more strokes apart than a character has.

    Args:
        reports: One for each image.

    Returns:
        (n,).
    """
    return np.array([not 1 <= report.components <= MOST_COMPONENTS for report in reports], dtype=bool)


def check_learnable(reports: Sequence[InkReport]) -> None:
    """Check that there is something to learn on each image.

    Args:
        reports: One for each image.

    Raises:
        ValueError: Images have no ink.
    """
    if (without := blank(reports)).any():
        raise ValueError(f"images: expected ink on each, found none on {_numbered(without)}")


def warn_of_doubtful(reports: Sequence[InkReport]) -> None:
    """Warn of photographs in color, and of images with two symbols.

    Args:
        reports: One for each image.
    """
    colorful = np.array([report.colorfulness > PHOTOGRAPH for report in reports], dtype=bool)
    if colorful.any():
        message = "looks like a photograph in color, and the model reads drawings and print of single characters"
        warnings.warn(f"images: {_numbered(colorful)} {message}", stacklevel=5)
    several = np.array([report.symbols > 1 for report in reports], dtype=bool)
    if several.any():
        warnings.warn(f"images: {_numbered(several)} seems to hold two symbols, and the model reads one an image", stacklevel=5)


def warn_of_blank(reports: Sequence[InkReport]) -> None:
    """Warn of images without ink, for which the answer means nothing.

    Args:
        reports: One for each image.
    """
    if (without := blank(reports)).any():
        message = "all learned classes are equally probable for it; ask with `unknown` to have it named so"
        warnings.warn(f"images: no ink on {_numbered(without)}: {message}", stacklevel=5)


def _numbered(which: NDArray[np.bool_]) -> str:
    """The first such image, counted from 0, and the number of others."""
    found = np.flatnonzero(which)
    others = f" (as on {len(found) - 1} more)" if len(found) > 1 else ""
    return f"image {found[0]} of {len(which)}{others}"
