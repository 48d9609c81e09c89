"""Random features: dependence, tails, categories."""

import torch
from torch import Tensor

from srwm.data.draws import Draws
from srwm.streams.prior.config import PriorConfig

_LATENTS = 8


def standardized(x: Tensor) -> Tensor:
    """Each feature of each stream with mean 0 and standard deviation 1 over its samples: (B, T, F)."""
    x = x - x.mean(1, keepdim=True)
    return x / (x.square().mean(1, keepdim=True).sqrt() + 1e-6)


def draw_base(draws: Draws, config: PriorConfig, batch: int, length: int, width: int) -> Tensor:
    """Features before their marginal distributions are changed.

    Independent ones, linear mixtures of a few latent ones, clusters, or walks in time.

    Args:
        draws: random numbers.
        config: the prior.
        batch: number of streams B.
        length: number of samples T.
        width: number of features F.

    Returns:
        (B, T, F), standardized.
    """
    own = draws.normal(batch, length, width)
    latents = draws.normal(batch, length, _LATENTS)
    rows = draws.happens(config.correlated, batch)
    if rows.any():
        keep = draws.uniform(batch, 1, low=0.5, high=0.98)
        own[rows], latents[rows] = _walk(own[rows], keep[rows]), _walk(latents[rows], keep[rows])
    mixing = draws.normal(batch, _LATENTS, width) * draws.happens(draws.uniform(batch, _LATENTS, 1), batch, _LATENTS, width)
    mixed = latents @ mixing + draws.log_uniform(batch, 1, 1, low=0.05, high=1.0) * own
    kind = draws.choice([0.4, 0.4, 0.2], batch)
    clustered = kind == 2
    base = torch.where((kind == 0)[:, None, None], own, mixed)
    if clustered.any():
        centers = draws.normal(batch, 16, width)[clustered] * draws.uniform(batch, 1, 1, low=0.5, high=2.5)[clustered]
        number = draws.integers(batch, 1, low=2, high=17)[clustered]
        chosen = draws.below(number.expand(-1, length))
        spread = draws.uniform(batch, 16, 1, low=0.2, high=1.0)[clustered].expand(-1, -1, width)
        index = chosen[..., None].expand(-1, -1, width)
        base[clustered] = centers.gather(1, index) + spread.gather(1, index) * own[clustered]
    return standardized(base)


def _walk(x: Tensor, keep: Tensor) -> Tensor:
    """An autoregressive process with innovations x (B, T, F): each sample keeps this share of the one before, (B, 1)."""
    new = (1 - keep.square()).sqrt()
    steps = [x[:, 0]]
    for t in range(1, x.shape[1]):
        steps.append(keep * steps[-1] + new * x[:, t])
    return torch.stack(steps, 1)


def change_marginals(draws: Draws, config: PriorConfig, base: Tensor) -> Tensor:
    """Give features other distributions: skewed, heavy-tailed, uniform, counts, binary; or categories in one-hot code.

    Args:
        draws: random numbers.
        config: the prior.
        base: (B, T, F), standardized.

    Returns:
        (B, T, F), standardized.
    """
    batch, _, width = base.shape
    plain = draws.uniform(batch, 1)  # some streams have normal features alone
    kind = draws.choice([0.45, 0.13, 0.08, 0.12, 0.14, 0.08], batch, width)
    kind = torch.where(draws.uniform(batch, width) < plain, kind, 0)[:, None]
    scale = draws.uniform(batch, 1, width, low=0.4, high=1.2)
    levels = draws.integers(batch, 1, width, low=2, high=8).to(torch.float32)
    cut = draws.normal(batch, 1, width)
    ranks = (1.0 + (base * 0.70710678).erf()) / 2
    x = torch.where(kind == 1, (base * scale).exp(), base)
    x = torch.where(kind == 2, (base * 1.5 * scale).sinh(), x)
    x = torch.where(kind == 3, ranks, x)
    x = torch.where(kind == 4, (ranks.pow(scale) * levels).floor(), x)
    x = torch.where(kind == 5, (base > cut).to(torch.float32), x)
    return standardized(_with_categories(draws, config, base, x))


def _with_categories(draws: Draws, config: PriorConfig, base: Tensor, x: Tensor) -> Tensor:
    """Replace groups of neighboring features by one-hot codes."""
    batch, _, width = base.shape
    rows = draws.happens(config.categories, batch)
    if not rows.any():
        return x
    count = int(rows.sum())
    group = draws.happens(0.35, count, width).cumsum(1)  # a new group begins at each event
    sizes = torch.zeros(count, width + 1, dtype=torch.long, device="cpu").scatter_add(1, group, torch.ones_like(group))
    coded = (draws.happens(0.6, count, width + 1) & (sizes > 1)).gather(1, group)
    chosen = base[rows]
    length = chosen.shape[1]
    index = group[:, None].expand(-1, length, -1)
    largest = chosen.new_full((count, length, width + 1), -torch.inf).scatter_reduce(2, index, chosen, "amax").gather(2, index)
    codes = (chosen == largest).to(torch.float32)
    x = x.clone()
    x[rows] = torch.where(coded[:, None], codes, x[rows])
    return x
