"""Targets and advantages of an unroll, as pure functions.

Step t goes from frame t to frame t + 1. All arguments are (B, T), except `bootstrap` (B,), the value of the frame after the
last step.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Returns(NamedTuple):
    """Value targets and advantages, (B, T) each, without gradient."""

    targets: Tensor
    advantages: Tensor


@torch.no_grad()
def outcomes(rewards: Tensor, firsts: Tensor, final_values: Tensor, discount: float) -> tuple[Tensor, Tensor]:
    """Rewards and discounts of steps, adjusted at the ends of episodes.

    The last step of an episode has discount 0, so the next episode has no influence. If a time limit truncated the episode, the
    reward of its last step includes the discounted value of the final observation (partial-episode bootstrapping; Pardo et al.,
    2018).

    Args:
        rewards: rewards of the steps.
        firsts: bool; True: frame t + 1 begins another episode.
        final_values: value of the final observation where step t ended in a truncation, 0 elsewhere.
        discount: discount factor per step.

    Returns:
        Rewards and discounts, (B, T) each.
    """
    return rewards + discount * final_values, discount * (~firsts).to(rewards.dtype)


@torch.no_grad()
def vtrace(
    log_ratios: Tensor,
    rewards: Tensor,
    discounts: Tensor,
    values: Tensor,
    bootstrap: Tensor,
) -> Returns:
    """V-trace; Espeholt et al. (2018), equation 1, with both of its limits at 1.

    With discounts g and ratios rho, clipped at 1: targets v_t = V_t + δ_t + g_t rho_t (v_{t+1} - V_{t+1}) with
    δ_t = rho_t (r_t + g_t V_{t+1} - V_t); advantages rho_t (r_t + g_t v_{t+1} - V_t).

    Args:
        log_ratios: log-probability of each action under the learner's policy, minus that under the acting policy.
        rewards: rewards of the steps, from `outcomes`.
        discounts: discounts of the steps, from `outcomes`.
        values: values of frames 0 to T - 1, by the learner.
        bootstrap: value of frame T, (B,).

    Returns:
        Targets and advantages.
    """
    rho = log_ratios.exp().clamp(max=1)
    next_values = torch.cat([values[:, 1:], bootstrap[:, None]], 1)
    deltas = rho * (rewards + discounts * next_values - values)
    targets = values + _backwards(deltas, discounts * rho)
    next_targets = torch.cat([targets[:, 1:], bootstrap[:, None]], 1)
    return Returns(targets, rho * (rewards + discounts * next_targets - values))


@torch.no_grad()
def generalized_advantages(rewards: Tensor, discounts: Tensor, values: Tensor, bootstrap: Tensor, *, lambda_: float) -> Returns:
    """Advantages A_t = r_t + g_t V_{t+1} - V_t + λ g_t A_{t+1} with discounts g, and targets V + A; Schulman et al. (2016).

    Args:
        rewards: rewards of the steps, from `outcomes`.
        discounts: discounts of the steps, from `outcomes`.
        values: values of frames 0 to T - 1, by the acting agent.
        bootstrap: value of frame T, (B,).
        lambda_: decay of later temporal differences.

    Returns:
        Targets and advantages.
    """
    next_values = torch.cat([values[:, 1:], bootstrap[:, None]], 1)
    advantages = _backwards(rewards + discounts * next_values - values, lambda_ * discounts)
    return Returns(values + advantages, advantages)


def _backwards(terms: Tensor, factors: Tensor) -> Tensor:
    """The sums s_t = terms_t + factors_t s_{t+1}, with 0 after the last step."""
    total = torch.zeros_like(terms[:, 0])
    sums = []
    for term, factor in zip(reversed(terms.unbind(1)), reversed(factors.unbind(1)), strict=True):
        total = term + factor * total
        sums.append(total)
    return torch.stack(sums[::-1], 1)
