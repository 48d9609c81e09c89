"""Normalization of drawings and photographs of letters: bright ink on black, centered, of one size."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srwm.data.drawings.background import SMALL, find_ink
from srwm.data.drawings.brightness import check_gray_images, read_brightness, read_gray_images
from srwm.data.drawings.strokes import INK, keep_strokes

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 28
INK_SIDE = 22
_PIXELS_AT_ONCE = 200_000
_ENLARGED = 4

Array = NDArray[np.float32]


@dataclass(frozen=True)
class InkReport:
    """What was seen on one image."""

    share: float
    """the share of the image's area that is ink, from 0 to 1; 0 if there is none"""
    contrast: float
    """the difference of brightness between ink and background, from 0 to 1"""
    components: int
    """number of connected strokes"""
    symbols: int
    """0 without ink; 2 if two groups of strokes of like size lie far apart, as of two letters; else 1"""
    touches_border: bool
    """whether ink reaches the border of the image, as of a letter that is cut off"""
    colorfulness: float
    """the share of the image's area that has another hue than most of it: 0 without color, little for a colored pen"""


def normalize_ink(image: "NDArray[np.generic] | Image") -> NDArray[np.uint8]:
    """One drawing or photograph of a letter, normalized: ink bright on 0, centered, of one size.

    The commoner brightness, that of the border above all, is the background: ink may be dark on light or light on dark.
    Gradients, vignettes, shadows and noise of the background are taken off (`srwm.data.drawings.background`). The largest
    connected strokes are kept; specks, the edge of a table and ruled lines are not (`srwm.data.drawings.strokes`). The box
    around the ink is scaled so that its longer side is 22 pixels and centered, and brightness is stretched, so that thin
    strokes of a huge drawing stay bright. Where there is no ink (one brightness, or noise alone), all is 0. What is
    transparent is background. Pillow images are read as `srwm.data.io.decode.upright` does.

    Args:
        image: (H, W), (1, H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or floating in [0, 1], or a PIL image; 1 to
            8192 pixels a side.

    Returns:
        (28, 28) uint8.

    Raises:
        ValueError: image has another shape, type, size or value (NaN, infinite, out of range), or is damaged.
    """
    return read_ink(image)[0]


def read_ink(image: "NDArray[np.generic] | Image") -> tuple[NDArray[np.uint8], InkReport]:
    """One image as `normalize_ink` makes it, and what was seen on it.

    Args:
        image: as for `normalize_ink`.

    Returns:
        (28, 28) uint8 and the report.

    Raises:
        ValueError: as `normalize_ink`.
    """
    seen = read_brightness(image)
    made, reports = _of_brightness(seen.values[None], seen.colorfulness)
    return made[0], reports[0]


def normalize_ink_images(images: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Several images, each normalized on its own as by `normalize_ink`.

    Args:
        images: (I, 1, H, W), bool, uint8, uint16 or floating in [0, 1].

    Returns:
        (I, 1, 28, 28) uint8.

    Raises:
        ValueError: as `normalize_ink`, for images.
    """
    return read_ink_images(images)[0]


def read_ink_images(images: NDArray[np.generic]) -> tuple[NDArray[np.uint8], list[InkReport]]:
    """Several images as `normalize_ink_images` makes them, and what was seen on each.

    Args:
        images: (I, 1, H, W), bool, uint8, uint16 or floating in [0, 1].

    Returns:
        (I, 1, 28, 28) uint8 and I reports.

    Raises:
        ValueError: as `normalize_ink_images`.
    """
    check_gray_images(images)
    at_once = max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
    out = np.zeros((len(images), 1, SIDE, SIDE), np.uint8)
    reports: list[InkReport] = []
    for start in range(0, len(images), at_once):
        part = slice(start, start + at_once)
        out[part, 0], seen = _of_brightness(read_gray_images(images[part]))
        reports += seen
    return out, reports


def _of_brightness(gray: Array, colorfulness: float = 0.0) -> tuple[NDArray[np.uint8], list[InkReport]]:
    coverage, contrast = find_ink(gray)
    if min(gray.shape[1:]) < SMALL:
        coverage = _enlarged(coverage)
    found = [keep_strokes(covered) for covered in coverage]
    reports = [
        InkReport(
            share=float(strokes.coverage.mean()),
            contrast=float(height) if strokes.components else 0.0,
            components=strokes.components,
            symbols=strokes.symbols,
            touches_border=strokes.touches_border,
            colorfulness=colorfulness,
        )
        for strokes, height in zip(found, contrast, strict=True)
    ]
    return center_ink(np.stack([strokes.coverage for strokes in found])), reports


def _enlarged(coverage: Array) -> Array:
    """Small images (B, H, W) with smooth edges instead of square pixels, (B, 4 H, 4 W)."""
    from scipy import ndimage

    large = ndimage.zoom(coverage, (1, _ENLARGED, _ENLARGED), order=3, mode="nearest", grid_mode=True)
    return np.asarray(np.clip(large, 0, 1), np.float32)


def center_ink(ink: Array) -> NDArray[np.uint8]:
    """The last steps of `normalize_ink`, for what is known to be ink: coverage (B, H, W) in [0, 1] -> (B, 28, 28) uint8.

    Args:
        ink: coverage (B, H, W) in [0, 1].

    Returns:
        The images (B, 28, 28), ink bright, centered and at one size.
    """
    rows, columns = _box((ink > INK).any(2)), _box((ink > INK).any(1))
    scale = np.maximum(rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0]) / INK_SIDE
    down = _weights(ink.shape[1], rows.mean(1), scale)
    right = _weights(ink.shape[2], columns.mean(1), scale)
    small = down @ ink @ right.transpose(0, 2, 1)
    typical = (small**2).sum((1, 2)) / np.maximum(small.sum((1, 2)), 1e-12)  # the brightness of ink, as ink itself weighs it
    stretched = np.minimum(small / np.maximum(typical, 1e-12)[:, None, None], 1)
    return np.asarray(np.rint(255 * stretched), np.uint8)


def _box(occupied: NDArray[np.bool_]) -> NDArray[np.float64]:
    """First and one past the last True of each row, (B, 2); the whole row where there is none."""
    first, past = occupied.argmax(1), occupied.shape[1] - occupied[:, ::-1].argmax(1)
    return np.stack([first, past], axis=1, dtype=np.float64)


def _weights(side: int, center: NDArray[np.float64], scale: NDArray[np.float64]) -> Array:
    """Antialiased resampling, (B, 28, side): a triangle two output pixels wide, integrated over every input pixel."""
    first = SIDE / 2 - 0.5 - center / scale  # every output pixel's place, and every input edge's, in output pixels
    edges = (np.arange(side + 1) / scale[:, None] + first[:, None]).astype(np.float32)
    edges = np.clip(edges[:, None] - np.arange(SIDE, dtype=np.float32)[:, None], -1, 1)
    integral = 0.5 + edges - 0.5 * edges * np.abs(edges)
    return np.asarray(np.diff(integral, axis=2), np.float32)
