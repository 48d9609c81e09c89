"""Ink apart from its background, be that even, sloped, vignetted, shadowed or beside the edge of a table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FAINTEST = 6 / 255
_NOISES = 4.5
SMALL = 16
"""Images with a side below this have no room for a background beside the strokes, and their gray edges are no noise."""
_NOISES_SMALL = 2.0
_CLEAN = 10
_ALIKE = 0.15
_FREE_BORDER = 0.05
_WINDOW = 0.35
_DARKEST = 0.1

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Relief:
    """What rises from a background, of B images.

    Args:
        rest: (B, H, W), the distance from the background, positive towards the ink.
        above: (B, H, W) bool, where the ink is.
    """

    rest: Array
    above: NDArray[np.bool_]

    @property
    def noise(self) -> Array:
        """Root mean square of the background, (B,)."""
        background = ~self.above
        count = np.maximum(background.sum((1, 2)), 1)
        return np.asarray(np.sqrt((self.rest**2 * background).sum((1, 2)) / count), np.float32)

    @property
    def contrast(self) -> Array:
        """Mean height of the ink, (B,)."""
        return np.asarray((self.rest * self.above).sum((1, 2)) / np.maximum(self.above.sum((1, 2)), 1), np.float32)


def find_ink(gray: Array) -> tuple[Array, Array]:
    """How much of each pixel is ink.

    The commoner brightness, that of the border above all, is the background: ink may be dark on light or light on dark. A plane
    is taken off, and where that leaves an uneven background, a local one instead: the closing by a square that fits into no
    stroke, which follows shadows and edges exactly.

    Args:
        gray: brightness (B, H, W) in [0, 1].

    Returns:
        Coverage (B, H, W) in [0, 1], 0 where an image has no ink, and the contrast of the ink (B,), 0 where there is none.
    """
    even = _over_plane(gray)
    coverage, contrast, clearness = _covered(even)
    if min(gray.shape[1:]) < SMALL:
        return coverage, contrast
    uneven = np.flatnonzero((even.contrast > FAINTEST / 2) & ~_is_clean(even, gray, clearness))
    for i in uneven.tolist():
        local = _over_closing(gray[i])
        covered, height, clear = _covered(local)
        if clear[0] > min(clearness[i], _CLEAN):
            coverage[i], contrast[i] = covered[0], height[0]
    return coverage, contrast


def _covered(relief: _Relief) -> tuple[Array, Array, Array]:
    """Coverage by ink (B, H, W), its contrast (B,), and the contrast in units of the noise (B,)."""
    noise, contrast = relief.noise, relief.contrast
    is_small = min(relief.rest.shape[1:]) < SMALL
    clearness = np.asarray(contrast / np.maximum(noise, 1e-6), np.float32)
    there = (contrast > FAINTEST) & (clearness > (_NOISES_SMALL if is_small else _NOISES))
    contrast = np.where(there, contrast, 1)
    floor = 0 * contrast if is_small else np.clip(3 * noise / contrast, 0.15, 0.6)
    contrast = np.maximum(relief.rest.max((1, 2)), contrast) if is_small else contrast
    coverage = (relief.rest / contrast[:, None, None] - floor[:, None, None]) / (1 - floor)[:, None, None]
    coverage = np.asarray(np.clip(coverage, 0, 1) * there[:, None, None], np.float32)
    return coverage, np.asarray(np.where(there, contrast, 0), np.float32), np.where(there, clearness, 0)


def _is_clean(relief: _Relief, gray: Array, clearness: Array) -> NDArray[np.bool_]:
    """Whether the plane leaves little but ink: the background even, and what reaches the border of one brightness."""
    above = relief.above
    border = np.concatenate([above[:, 0], above[:, -1], above[:, :, 0], above[:, :, -1]], axis=1).mean(1)
    clean = np.asarray(clearness > _CLEAN)
    doubtful = clean & (border >= _FREE_BORDER)
    if doubtful.any():
        clean[doubtful] = _spread(gray[doubtful], above[doubtful]) < _ALIKE * relief.contrast[doubtful]
    return clean


def _spread(gray: Array, above: NDArray[np.bool_]) -> Array:
    """Standard deviation of the brightness inside of the ink, a pixel from its edge, (B,)."""
    inner = above.copy()
    for axis in (1, 2):
        for step in (-1, 1):
            inner &= np.roll(above, step, axis)
    count = np.maximum(inner.sum((1, 2)), 1)
    mean = (gray * inner).sum((1, 2)) / count
    return np.asarray(np.sqrt(((gray - mean[:, None, None]) ** 2 * inner).sum((1, 2)) / count), np.float32)


def _over_plane(gray: Array) -> _Relief:
    above, _ = _halves(gray)
    above, bright = _halves(gray - _plane(gray, ~above))
    sign = np.where(bright, 1, -1).astype(np.float32)[:, None, None]
    return _Relief(sign * (gray - _plane(gray, ~above)), above)


def _over_closing(gray: Array) -> _Relief:
    """One image (H, W) over its local background; dark ink in a shadow counts as it would in the light."""
    from scipy import ndimage

    shorter = min(gray.shape)
    smooth = ndimage.gaussian_filter(gray, float(np.clip(shorter / 150, 0.5, 2)), mode="nearest")
    dark = _is_dark(smooth)
    paper = smooth if dark else 1 - smooth
    window = max(3, round(_WINDOW * shorter) | 1)
    padded = np.pad(paper, window, mode="edge")
    closed = ndimage.minimum_filter(ndimage.maximum_filter(padded, window), window)
    background = closed[window:-window, window:-window]
    lit = float(background.max())
    rest = (background - paper) * (lit / np.maximum(background, _DARKEST * max(lit, FAINTEST)) if dark else 1)
    rest = (rest - np.median(rest))[None].astype(np.float32)
    return _Relief(rest, _above_otsu(rest))


def _is_dark(gray: Array) -> bool:
    """Whether the ink is darker than the median of its neighborhood, half an image wide, rather than brighter."""
    from scipy import ndimage

    shape = tuple(min(24, side) for side in gray.shape)
    rows, columns = (np.arange(n) * side // n for n, side in zip(shape, gray.shape, strict=True))
    sums = np.add.reduceat(np.add.reduceat(gray, rows, axis=0), columns, axis=1)
    counts = np.diff(rows, append=gray.shape[0])[:, None] * np.diff(columns, append=gray.shape[1])
    small = sums / counts
    window = max(1, min(shape) // 2) | 1
    return float(((small - ndimage.median_filter(small, window, mode="nearest")) ** 3).sum()) <= 0


def _above_otsu(values: Array) -> NDArray[np.bool_]:
    """The upper half of (B, H, W) by Otsu's threshold."""
    low = values.min((1, 2), keepdims=True)
    reach = values.max((1, 2), keepdims=True) - low
    levels = ((values - low) * (255 / np.maximum(reach, 1e-6))).astype(np.uint8)
    return np.asarray(levels > _otsu(levels.reshape(len(levels), -1))[:, None, None])


def _halves(values: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rarer of the bright and the dark half, by Otsu's threshold: where it is (B, H, W), and whether it is bright (B).

    A half's share counts twice, among all pixels and among those of the border.
    """
    bright = _above_otsu(values)
    border = np.concatenate([bright[:, 0], bright[:, -1], bright[:, :, 0], bright[:, :, -1]], axis=1)
    is_bright = bright.mean((1, 2)) + border.mean(1) <= 1
    return bright ^ ~is_bright[:, None, None], is_bright


def _otsu(levels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each row, the level (0 ... 254) above which the brighter of two classes lies: largest variance between them."""
    keys = levels + 256 * np.arange(len(levels), dtype=np.int64)[:, None]
    counts = np.bincount(keys.ravel(), minlength=256 * len(levels)).reshape(-1, 256) / levels.shape[1]
    share = counts.cumsum(1)
    mass = (counts * np.arange(256)).cumsum(1)
    between = (mass[:, -1:] * share - mass) ** 2 / np.maximum(share * (1 - share), 1e-12)
    best = between[:, :255]
    ties = best >= best.max(1, keepdims=True) * (1 - 1e-9)  # of a whole gap between two classes, its middle
    return np.asarray((ties.argmax(1) + 254 - ties[:, ::-1].argmax(1)) // 2)


def _plane(values: Array, where: NDArray[np.bool_]) -> Array:
    """The plane over the image that fits `values` best on the pixels `where`, (B, H, W)."""
    v, u = (np.linspace(-1, 1, side, dtype=np.float32) if side > 1 else np.zeros(1, np.float32) for side in values.shape[1:])
    weight = where.astype(np.float32)
    moments = np.stack([v**0, v, v**2]) @ weight @ np.stack([u**0, u, u**2], 1)
    sums = np.stack([v**0, v]) @ (values * weight) @ np.stack([u**0, u], 1)
    m = np.moveaxis(moments.astype(np.float64), 0, -1)
    system = np.array([[m[0, 0], m[1, 0], m[0, 1]], [m[1, 0], m[2, 0], m[1, 1]], [m[0, 1], m[1, 1], m[0, 2]]])
    system = np.moveaxis(system, -1, 0) + 1e-4 * np.eye(3)
    target = np.stack([sums[:, 0, 0], sums[:, 1, 0], sums[:, 0, 1]], 1).astype(np.float64)
    level, down, right = np.linalg.solve(system, target[..., None])[..., 0].T.astype(np.float32)[..., None, None]
    return np.asarray(level + down * v[:, None] + right * u, np.float32)
