"""IMPALA's losses are sums with the method's signs; PPO stops rewarding a ratio that has left its band."""

import math

import pytest
import torch
from torch.testing import assert_close

from srwm.rl.losses import diagnostics, entropy, impala_losses, log_probability, ppo_losses
from srwm.rl.vtrace import Returns


def test_impala_by_hand() -> None:
    """A policy of 3/4 and 1/4, for two steps."""
    logits = torch.tensor([[[math.log(3), 0.0], [math.log(3), 0.0]]])
    returns = Returns(targets=torch.tensor([[2.0, 0.0]]), advantages=torch.tensor([[1.0, -2.0]]))
    losses = impala_losses(logits, torch.tensor([[1.0, 3.0]]), torch.tensor([[0, 1]]), returns)
    mixed = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert_close(losses.policy.item(), -math.log(0.75) + 2 * math.log(0.25))
    assert_close(losses.value.item(), 1.0 + 9.0)
    assert_close(losses.entropy.item(), 2 * mixed)
    assert_close(losses.total(0.25, 0.01).item(), losses.policy.item() + 2.5 - 0.02 * mixed)


def test_entropy_is_largest_where_all_actions_are_equal() -> None:
    assert_close(entropy(torch.zeros(3, 15)), torch.full((3,), math.log(15)))


def test_ppo_has_no_gradient_beyond_its_band() -> None:
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    actions = torch.zeros(1, 2, dtype=torch.long)
    behavior = log_probability(logits.detach(), actions) - torch.tensor([[math.log(1.5), 0.0]])
    returns = Returns(torch.zeros(1, 2), torch.ones(1, 2))
    losses = ppo_losses(logits, torch.zeros(1, 2), actions, returns, behavior, clip=0.2)
    (gradient,) = torch.autograd.grad(losses.policy, logits)
    assert (gradient[0, 0] == 0).all()
    assert (gradient[0, 1] != 0).all()
    assert_close(losses.policy.item(), -(1.2 + 1) / 2)


def test_diagnostics_by_hand() -> None:
    """A policy that took actions at 1/2 and 1/2 and now takes them at 3/4 and 1/4."""
    logits, actions = torch.tensor([[[math.log(3), 0.0]] * 4]), torch.tensor([[0, 1, 0, 1]])
    targets = Returns(torch.tensor([[1.0, 3.0, 1.0, 3.0]]), torch.zeros(1, 4))
    behavior = torch.full((1, 4), math.log(0.5))
    metrics = diagnostics(logits, torch.tensor([[1.0, 2.0, 1.0, 2.0]]), actions, targets, behavior, clip=0.6)
    assert metrics["explained_variance"] == pytest.approx(1 - 0.25 / 1)
    assert metrics["approx_kl"] == pytest.approx((0.5 - math.log(1.5) - 0.5 - math.log(0.5)) / 2, abs=1e-6)
    assert metrics["approx_kl"] == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), abs=1e-6)
    assert metrics["clip_fraction"] == 0
    metrics = diagnostics(logits, torch.zeros(1, 4), actions, targets, behavior - 0.1, clip=0.6)
    assert metrics["explained_variance"] == pytest.approx(0)
    assert metrics["clip_fraction"] == 0.5
    constant = Returns(torch.ones(1, 4), torch.zeros(1, 4))
    assert diagnostics(logits, torch.zeros(1, 4), actions, constant, behavior, clip=0.6)["explained_variance"] == 0
