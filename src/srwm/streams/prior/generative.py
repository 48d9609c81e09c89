"""Streams whose features are drawn given the class: clusters that belong to classes, and move."""

import torch
from torch import Tensor

from srwm.data.draws import Draws, count_to
from srwm.streams.prior.drift import CONCEPTS, Schedule
from srwm.streams.prior.features import standardized
from srwm.streams.prior.teachers import Sizes

_CLUSTERS = 32


def draw_clusters(draws: Draws, base: Tensor, sizes: Sizes, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """Features around the centers of clusters, and the classes of these clusters.

    With a new concept the centers move, or the shares of the clusters change.

    Args:
        draws: random numbers.
        base: features (B, T, F) that become the spread around a center, with their dependence.
        sizes: sizes of the streams.
        schedule: the concepts over time.

    Returns:
        x (B, T, F), standardized, and classes (B, T).
    """
    batch, length, width = base.shape
    number = torch.maximum(draws.integers(batch, low=2, high=_CLUSTERS + 1), sizes.classes)
    number = torch.where(draws.happens(0.4, batch), sizes.classes, number)
    distance = draws.log_uniform(batch, 1, 1, low=0.4, high=3.0)
    relevant = draws.subset(batch, draws.below(sizes.features) + 1, sizes.features, width)[:, None]
    centers = draws.normal(CONCEPTS, batch, _CLUSTERS, width) * distance * relevant
    kind = draws.integers(batch, 1, high=3)  # centers move, shares change, or both
    one = count_to(_CLUSTERS) == draws.below(number[:, None])  # moves for certain
    moved = ((kind != 1) & (one | draws.happens(draws.uniform(batch, 1), batch, _CLUSTERS)))[..., None]
    centers[1:] = torch.where(moved, centers[1:], centers[:1])
    log_shares = draws.normal(CONCEPTS, batch, _CLUSTERS) * draws.uniform(batch, 1, low=0.3, high=1.2)
    log_shares[1:] = torch.where(kind != 0, log_shares[1:], log_shares[:1])
    log_shares = log_shares.masked_fill(count_to(_CLUSTERS) >= number[:, None], -torch.inf)

    rows = count_to(batch)[:, None]
    concept = torch.where(schedule.progress > draws.uniform(batch, length), 1, schedule.concept)
    edges = log_shares.softmax(2).cumsum(2)
    chosen = (draws.uniform(batch, length, 1) > edges[concept, rows]).sum(2).clamp(max=_CLUSTERS - 1)
    chosen = torch.minimum(chosen, number[:, None] - 1)
    progress = schedule.progress[..., None]
    at = (1 - progress) * centers[schedule.concept, rows, chosen] + progress * centers[1][rows, chosen]
    spread = draws.uniform(batch, _CLUSTERS, 1, low=0.3, high=1.2).expand(-1, -1, width)[rows, chosen]
    classes = torch.where(
        count_to(_CLUSTERS) < sizes.classes[:, None],
        count_to(_CLUSTERS),
        draws.below(sizes.classes[:, None].expand(-1, _CLUSTERS)),
    )
    return standardized(at + spread * base), classes.gather(1, chosen)
