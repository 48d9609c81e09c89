"""Pictures of what a memory holds."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from srwm.fewshot.models.base import EpisodeModel
from srwm.nn import SelfReferential, State
from srwm.nn.state import leaves

_LARGEST = 4
"""pixels a side of one number, at most"""
_WIDEST = 600
"""pixels of a matrix with many columns"""
_LINE = 40
_GAP = 12
_RED, _BLUE = np.array([178, 24, 43], np.float32), np.array([33, 102, 172], np.float32)


def picture_of_change(before: State | None, after: State, model: EpisodeModel) -> NDArray[np.uint8]:
    """What the last examples wrote, and all that was written, a row for each tensor of the state.

    A step count is left out. Of a state with heads, the head that changed most is drawn. Numbers above 0 are red, those below
    blue; each picture has its own scale. In a self-referential matrix, lines separate the columns of y, q, k and beta.

    Args:
        before: the state before the examples; None: a fresh one, zeros.
        after: the state after them.
        model: the model whose state it is.

    Returns:
        (height, width, 3) uint8: in each row the change on the left and the whole on the right.
    """
    parts = leaves(after)
    earlier = [part.new_zeros(part.shape) for part in parts] if before is None else leaves(before)
    pairs = [(past, part) for past, part in zip(earlier, parts, strict=True) if part.dim() > 1]
    rows = [_row(part - past, part, _columns(model, part)) for past, part in pairs]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)[:-_GAP]


def _columns(model: EpisodeModel, state: Tensor) -> list[int]:
    """Where the columns of q, k and beta begin, if the state is the shift of a self-referential matrix of the model."""
    for part in model.modules():
        if isinstance(part, SelfReferential) and part.weight.shape == state.shape[1:]:
            return [part.d_out, part.d_out + part.head_dim, part.d_out + 2 * part.head_dim]
    return []


def _row(change: Tensor, whole: Tensor, columns: list[int]) -> NDArray[np.uint8]:
    change, whole = change[0].float(), whole[0].float()
    if whole.dim() > 2:
        head = int(change.flatten(1).square().sum(1).argmax())
        change, whole = change[head], whole[head]
    both = [_colored(each.reshape(-1, each.shape[-1]).cpu().numpy(), columns) for each in (change, whole)]
    gap = np.full((len(both[0]), 2 * _GAP, 3), 255, np.uint8)
    return np.concatenate([both[0], gap, both[1]], axis=1)


def _colored(numbers: NDArray[np.float32], columns: list[int]) -> NDArray[np.uint8]:
    share = numbers / max(float(np.abs(numbers).max()), 1e-12)
    color = np.where(share[..., None] > 0, _RED, _BLUE)
    pixels = 255 + np.abs(share[..., None]) * (color - 255)
    side = min(_LARGEST, max(1, _WIDEST // numbers.shape[1]))
    large: NDArray[np.uint8] = np.rint(pixels).astype(np.uint8).repeat(side, 0).repeat(side, 1)
    for column in columns:
        large[:, column * side] = _LINE
    return large
