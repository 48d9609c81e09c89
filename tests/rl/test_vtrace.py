"""Targets and advantages against numbers worked out by hand, and against the sums that define them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from srwm.rl.vtrace import generalised_advantages, vtrace


def row(*numbers: float) -> torch.Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def test_on_policy_by_hand() -> None:
    targets, advantages = vtrace(row(0, 0), row(1, 2), row(0.5, 0.5), row(0.5, 1), row(4)[0])
    assert_close(targets, row(3, 4))
    assert_close(advantages, row(2.5, 3))


def test_off_policy_by_hand() -> None:
    """Ratios 1/2 and 2, the latter clipped to 1."""
    targets, advantages = vtrace(row(0.5, 2).log(), row(1, 2), row(0.5, 0.5), row(0.5, 1), row(4)[0])
    assert_close(targets, row(1.75, 4))
    assert_close(advantages, row(1.25, 3))


def test_an_episode_that_ends_knows_nothing_of_the_next_by_hand() -> None:
    targets, advantages = vtrace(row(0, 0), row(1, 2), row(0, 0.5), row(0.5, 1), row(4)[0])
    assert_close(targets, row(1, 4))
    assert_close(advantages, row(0.5, 3))


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 12), seed=st.integers(0, 1000), rho_clip=st.sampled_from([0.7, 1.0, 2.0]))
def test_targets_are_the_defining_sum(steps: int, seed: int, rho_clip: float) -> None:
    """v_s = V_s + Σ_t (Π_{i<t} discount_i c_i) δ_t, equation 1 of the paper."""
    generator = torch.Generator().manual_seed(seed)
    batch = 3
    log_ratios, rewards, values = torch.randn(3, batch, steps, generator=generator, dtype=torch.float64)
    discounts = 0.9 * (torch.rand(batch, steps, generator=generator) > 0.2).double()
    bootstrap = torch.randn(batch, generator=generator, dtype=torch.float64)
    targets, advantages = vtrace(log_ratios, rewards, discounts, values, bootstrap, rho_clip=rho_clip)
    rho, c = log_ratios.exp().clamp(max=rho_clip), log_ratios.exp().clamp(max=1)
    following = torch.cat([values, bootstrap[:, None]], 1)
    for b in range(batch):
        sums = [bootstrap[b]]
        for s in reversed(range(steps)):
            total = values[b, s]
            for t in range(s, steps):
                delta = rho[b, t] * (rewards[b, t] + discounts[b, t] * following[b, t + 1] - values[b, t])
                total = total + (discounts[b, s:t] * c[b, s:t]).prod() * delta
            assert_close(targets[b, s], total)
            assert_close(advantages[b, s], rho[b, s] * (rewards[b, s] + discounts[b, s] * sums[-1] - values[b, s]))
            sums.append(total)


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 1.0])
def test_generalised_advantages_by_hand(lambda_: float) -> None:
    targets, advantages = generalised_advantages(row(1, 2), row(0.5, 0.5), row(0.5, 1), row(4)[0], lambda_=lambda_)
    assert_close(advantages, row(1 + lambda_ * 0.5 * 3, 3))
    assert_close(targets, row(1.5 + lambda_ * 0.5 * 3, 4))
