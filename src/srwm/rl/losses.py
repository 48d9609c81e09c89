"""Losses of an unroll, as pure functions: logits (B, T, A), everything else (B, T); targets and advantages are constants."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from srwm.rl.vtrace import Returns


class Losses(NamedTuple):
    """The terms of a loss, each (): policy + value_cost * value - entropy_cost * entropy is minimized."""

    policy: Tensor
    value: Tensor
    entropy: Tensor

    def total(self, value_cost: float, entropy_cost: float) -> Tensor:
        """The weighted sum of the terms.

        Args:
            value_cost: weight of the value loss.
            entropy_cost: weight of the entropy.

        Returns:
            The loss, ().
        """
        return self.policy + value_cost * self.value - entropy_cost * self.entropy


def log_probability(logits: Tensor, actions: Tensor) -> Tensor:
    """Log-probabilities of actions.

    Args:
        logits: (..., A).
        actions: (...) int64.

    Returns:
        log π(a), (...).
    """
    return logits.log_softmax(-1).gather(-1, actions[..., None])[..., 0]


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the policy, -Σ π log π: logits (..., A) -> (...).

    Args:
        logits: (..., A).

    Returns:
        (...), in nats.
    """
    log_policy = logits.log_softmax(-1)
    return -(log_policy.exp() * log_policy).sum(-1)


def impala_losses(logits: Tensor, values: Tensor, actions: Tensor, returns: Returns) -> Losses:
    """Losses of IMPALA, summed over all steps, as the published optimizer settings assume; Espeholt et al. (2018), section
    4.2.

    Args:
        logits: (B, T, A).
        values: (B, T).
        actions: (B, T) int64.
        returns: targets and advantages, (B, T) each.

    Returns:
        policy: Σ -log π(a) A; value: Σ (target - V)²; entropy: Σ -Σ π log π.
    """
    policy = -(log_probability(logits, actions) * returns.advantages).sum()
    return Losses(policy, F.mse_loss(values, returns.targets, reduction="sum"), entropy(logits).sum())


def ppo_losses(logits: Tensor, values: Tensor, actions: Tensor, returns: Returns, behavior: Tensor, *, clip: float) -> Losses:
    """Losses of PPO, averaged over all steps, with clipped probability ratios; Schulman et al. (2017), equation 7.

    Args:
        logits: (B, T, A).
        values: (B, T).
        actions: (B, T) int64.
        returns: targets and advantages, (B, T) each.
        behavior: log-probabilities of the actions under the acting policy, (B, T).
        clip: clip range of the ratio.

    Returns:
        The means of the three terms.
    """
    ratios = (log_probability(logits, actions) - behavior).exp()
    clipped = ratios.clamp(1 - clip, 1 + clip)
    policy = -(ratios * returns.advantages).minimum(clipped * returns.advantages).mean()
    return Losses(policy, F.mse_loss(values, returns.targets), entropy(logits).mean())


@torch.no_grad()
def diagnostics(
    logits: Tensor, values: Tensor, actions: Tensor, returns: Returns, behavior: Tensor, *, clip: float | None
) -> dict[str, float]:
    """Metrics of an update besides the losses, before its gradient step.

    Args:
        logits: (B, T, A).
        values: (B, T).
        actions: (B, T) int64.
        returns: targets and advantages, (B, T) each.
        behavior: log-probabilities of the actions under the acting policy, (B, T).
        clip: clip range of the ratios; None: they are not clipped.

    Returns:
        explained_variance: 1 - Var(target - V) / Var(target), 0 where targets do not vary. approx_kl: mean of r - 1 - log r
        with the ratio r of the policy to the acting one, an estimate of KL(acting || policy) (Schulman, 2020). clip_fraction,
        unless `clip` is None: share of steps whose ratio is further than `clip` from 1.
    """
    log_ratios = log_probability(logits, actions) - behavior
    changes = log_ratios.expm1()
    spread = returns.targets.var(correction=0)
    left = (returns.targets - values).var(correction=0)
    metrics = {
        "explained_variance": (1 - left / spread).item() if spread > 0 else 0.0,
        "approx_kl": (changes - log_ratios).mean().item(),
    }
    return metrics if clip is None else {**metrics, "clip_fraction": (changes.abs() > clip).float().mean().item()}
