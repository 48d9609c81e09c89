"""Which columns of self-referential matrices change: shares of W - W_0 in the blocks of columns."""

from typing import NamedTuple

import torch
from torch import Tensor

from srwm.fewshot.episodes import Episodes
from srwm.fewshot.models.sequence import FewShotModel
from srwm.nn import SelfReferential

COLUMNS = ("y", "q", "k", "beta")


class Written(NamedTuple):
    """The change of the matrices of one block after the support."""

    block: int
    """number of the block, from 1"""
    change: float
    """ratio of the norms of W - W_0 and W_0"""
    shares: dict[str, float]
    """share of the squared norm of W - W_0 in each of `COLUMNS`"""


def column_shares(change: Tensor) -> dict[str, float]:
    """Share of the squared norm of W - W_0 in each block of columns.

    Args:
        change: W - W_0, (..., E, D + 2E + 4).

    Returns:
        The share of each of `COLUMNS`; all 0 if nothing changed.
    """
    inputs = change.shape[-2]
    square = change.detach().double().square()
    parts = torch.split(square, [square.shape[-1] - 2 * inputs - 4, inputs, inputs, 4], -1)
    total = float(square.sum()) or 1.0
    return {name: float(part.sum()) / total for name, part in zip(COLUMNS, parts, strict=True)}


@torch.inference_mode()
def written_by_block(model: FewShotModel, features: Tensor, episodes: Episodes) -> list[Written]:
    """Measure the change of each block's matrices after the support of episodes.

    Args:
        model: the model, in evaluation mode.
        features: (I, F) of a data set, as `embed_all` gives them.
        episodes: episodes over these images.

    Returns:
        One entry for each block whose core is self-referential, summed over episodes and heads.
    """
    state = model.learn_memory(features[episodes.support], episodes.support_labels, None)
    found = []
    for number, (block, carried) in enumerate(zip(model.stack.blocks, state, strict=False), 1):
        core = block.core
        if isinstance(core, SelfReferential):
            change = carried[0] if isinstance(carried, tuple) else carried
            norm = float((change.double().square().sum() / len(change)).sqrt() / core.weight.double().norm())
            found.append(Written(number, norm, column_shares(change)))
    return found
