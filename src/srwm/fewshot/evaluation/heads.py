"""Logits and losses of each head of a model with several, on the same episodes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.fewshot.episodes import Episodes
from srwm.fewshot.models.config import HeadName
from srwm.fewshot.models.residual import ResidualModel


def head_losses(
    model: ResidualModel, features: Tensor, episodes: Episodes, heads: tuple[HeadName, ...]
) -> dict[HeadName, tuple[Tensor, Tensor]]:
    """Cross-entropy and logits of the queries by head. No head's loss changes what another one computes.

    The loss of `residual` reaches only the factor of the memory's logits.

    Args:
        model: the model.
        features: (P, F) of the images of the episodes.
        episodes: B episodes over these images.
        heads: the heads; without `memory` and `residual` the memory is not run.

    Returns:
        The loss () in nats and the logits (B, Q, N) by head; those of classes that are not in an episode are -inf.
    """
    support, labels, query, wanted = (part.to(features.device) for part in episodes)
    shown = torch.zeros(len(support), model.config.n_way, dtype=torch.bool, device=features.device).scatter_(1, labels, True)
    known, asked = F.embedding(support, features), F.embedding(query, features)
    logits = model.logits_of(known, labels, asked, heads)
    masked = {head: found.masked_fill(~shown[:, None], -torch.inf).float() for head, found in logits.items()}
    return {head: (F.cross_entropy(found.flatten(0, 1), wanted.flatten()), found) for head, found in masked.items()}
