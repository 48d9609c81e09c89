"""The strokes of one symbol among specks, edges of tables and ruled lines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

INK = 0.4
"""least coverage of a pixel that is part of a stroke"""
_EIGHT = np.ones((3, 3), bool)
_BAND = 0.3
_BAND_LETTER = 0.05
_LEAST_SHARE = 0.01
_SHARE_PER_GAP = 0.08
_SHARE_PER_DIAGONAL_GAP = 0.25
_MOST_SHARE = 0.15
_BESIDE = 0.05
_CUT_SHARE = 0.1
_LINE_ACROSS = 0.95
_LINE_PIECE = 0.25
_LINE_HEIGHT = 0.05
_APART = 0.35
_FULL_SYMBOL = 0.6

Array = NDArray[np.float32]
Boxes = NDArray[np.int64]
"""first row, past the last row, first column, past the last column, (n, 4)"""


@dataclass(frozen=True)
class Strokes:
    """The strokes kept of an image."""

    coverage: Array
    """coverage by them (H, W)"""
    components: int
    """number of connected parts"""
    symbols: int
    """1, or 2 where two parts of like size lie far apart, 0 without ink"""
    touches_border: bool
    """whether they reach the border of the image"""


def keep_strokes(coverage: Array) -> Strokes:
    """The largest connected strokes and what lies near them.

    Ruled lines across the image are taken out; what runs along a border is left out if there is a symbol elsewhere; a speck is
    left out, by its area beside the largest part, the sooner the farther it is.

    Args:
        coverage: coverage by ink (H, W) in [0, 1].

    Returns:
        The strokes.
    """
    from scipy import ndimage

    coverage = _without_lines(coverage)
    labels, count = ndimage.label(coverage > INK, _EIGHT)
    if not count:
        return Strokes(np.zeros_like(coverage), 0, 0, False)
    if count == 1:
        box = _boxes(labels)
        return Strokes(coverage, 1, 1, bool(_touching(box, labels.shape).any()))
    areas = np.bincount(labels.ravel())[1:]
    boxes = _boxes(labels)
    kept = _kept(areas, boxes, _at_border(labels, count), labels.shape)
    if not kept.all():
        near = ndimage.maximum_filter(np.concatenate([[False], kept])[labels], 3)
        others = np.concatenate([[False], ~kept])[labels]
        coverage = coverage * (near & ~others)
    touches = bool(_touching(boxes[kept], labels.shape).any())
    return Strokes(coverage, int(kept.sum()), _symbols(areas[kept], boxes[kept]), touches)


def _kept(areas: NDArray[Any], boxes: Boxes, at_border: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which components belong to the symbol, (n,) bool."""
    band = at_border > _BAND * min(shape)
    extents = np.maximum(boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2])
    letter_elsewhere = (extents[~band] > _BAND_LETTER * min(shape)).any()
    within = ~band if letter_elsewhere else np.ones(len(areas), bool)
    main = int(np.argmax(areas * within))
    kept = np.zeros(len(areas), bool)
    kept[main] = True
    union, largest = boxes[main].copy(), areas[main]
    for i in np.argsort(-areas).tolist():
        if kept[i] or not within[i]:
            continue
        needed = _needed_share(boxes[i], union)
        if areas[i] >= largest * (max(needed, _CUT_SHARE) if at_border[i] else needed):
            kept[i] = True
            union = _union(union, boxes[i])
    return kept


def _needed_share(box: NDArray[np.int64], symbol: NDArray[np.int64]) -> float:
    """The least area, as a share of the largest part, of a part of the symbol; dots lie above, below or beside it."""
    side = max(symbol[1] - symbol[0], symbol[3] - symbol[2])
    gaps = np.maximum(np.maximum(box[[0, 2]] - symbol[[1, 3]], symbol[[0, 2]] - box[[1, 3]]), 0) / side
    per_gap = _SHARE_PER_GAP if gaps.min() < _BESIDE else _SHARE_PER_DIAGONAL_GAP
    return min(_LEAST_SHARE + per_gap * float(gaps.max()), _MOST_SHARE)


def _symbols(areas: NDArray[Any], boxes: Boxes) -> int:
    """2 if there are two groups of strokes, both large and more than a dot or a bar, with a wide gap between them; else 1."""
    groups = np.arange(len(boxes))
    for i, box in enumerate(boxes):
        near = _gaps(boxes, box) < _APART * max(box[1] - box[0], box[3] - box[2])
        groups[np.isin(groups, groups[near])] = groups[i]
    numbers = np.unique(groups)
    if len(numbers) != 2:
        return 1
    area = np.array([areas[groups == group].sum() for group in numbers])
    low, high = (np.array([end(boxes[groups == group], 0) for group in numbers]) for end in (np.min, np.max))
    sides = high[:, [1, 3]] - low[:, [0, 2]]
    alike = sides.max(1).min() > _FULL_SYMBOL * sides.max() and area.min() > 0.5 * area.max()
    drawn = (sides.min(1) > 0.25 * sides.max(1)).all() and (area < 0.6 * sides.prod(1)).all()
    return 2 if alike and drawn else 1


def _without_lines(coverage: Array) -> Array:
    """The coverage without two or more thin lines that run from side to side, as of ruled or squared paper."""
    for turned in (False, True):
        page = coverage.T if turned else coverage
        lines = _lines(page > INK)
        if lines is not None:
            page = page * ~lines
            coverage = page.T if turned else page
    return coverage


def _lines(ink: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The pixels of horizontal lines where no stroke crosses them; None if there are fewer than two lines, or nothing else."""
    from scipy import ndimage

    height, width = ink.shape
    if min(height, width) < 40 or min(ink[:, :2].any(1).sum(), ink[:, -2:].any(1).sum()) < 2:
        return None
    thick = ndimage.maximum_filter1d(ink.view(np.uint8), 5, axis=0)
    piece = max(3, int(_LINE_PIECE * width))
    long = ndimage.maximum_filter1d(ndimage.minimum_filter1d(thick, piece, axis=1, mode="nearest"), piece, axis=1)
    labels, _ = ndimage.label(long)
    strokes = np.zeros_like(ink)
    lines = np.zeros_like(ink)
    found = 0
    for i, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        across = columns.stop - columns.start >= _LINE_ACROSS * width
        if not across or rows.start == 0 or rows.stop == height:
            continue
        line = ink & (labels == i)
        thickness = int(np.median(line.sum(0)))
        if thickness <= max(2, round(_LINE_HEIGHT * height)):
            found += 1
            lines |= line
            strokes |= line & _vertical_runs(ink, thickness + 2)
    lines &= ~strokes
    return lines if found > 1 and (ink & ~lines)[:, 2:-2].any() else None


def _vertical_runs(ink: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """The pixels of vertical runs of so many pixels or more."""
    from scipy import ndimage

    opened: NDArray[np.bool_] = ndimage.binary_opening(ink, np.ones((length, 1), bool))
    return opened


def _boxes(labels: NDArray[Any]) -> Boxes:
    from scipy import ndimage

    return np.array([[r.start, r.stop, c.start, c.stop] for r, c in ndimage.find_objects(labels)], np.int64)


def _at_border(labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The number of border pixels of each component, (count,)."""
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.bincount(border, minlength=count + 1)[1:]


def _touching(boxes: Boxes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    height, width = shape
    return np.asarray((boxes[:, 0] == 0) | (boxes[:, 1] == height) | (boxes[:, 2] == 0) | (boxes[:, 3] == width))


def _gaps(boxes: Boxes, other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels between boxes and another box, by the longer of the two directions, (n,)."""
    down = np.maximum(boxes[:, 0] - other[1], other[0] - boxes[:, 1])
    right = np.maximum(boxes[:, 2] - other[3], other[2] - boxes[:, 3])
    return np.asarray(np.maximum(np.maximum(down, right), 0))


def _union(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    low, high = np.minimum(first, second), np.maximum(first, second)
    return np.array([low[0], high[1], low[2], high[3]])
