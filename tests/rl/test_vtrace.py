"""Targets and advantages against numbers worked out by hand, and against the sums that define them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from srwm.rl.vtrace import generalized_advantages, outcomes, vtrace


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


def truncated_at_step_1() -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards 1, 2, 3; a time limit cuts the episode off at step 1, whose final observation has the value 6."""
    return outcomes(row(1, 2, 3), row(0, 1, 0).bool(), row(0, 6, 0), 0.5)


def test_a_time_limit_in_the_middle_of_an_unroll_by_hand() -> None:
    targets, advantages = vtrace(row(0, 0, 0), *truncated_at_step_1(), row(0.5, 1, 2), row(4)[0])
    assert_close(targets, row(1 + 0.5 * 5, 2 + 0.5 * 6, 3 + 0.5 * 4))
    assert_close(advantages, row(3, 4, 3))


def test_a_time_limit_off_policy_by_hand() -> None:
    """A ratio of 1/2 at the step that was cut off."""
    targets, advantages = vtrace(row(1, 0.5, 1).log(), *truncated_at_step_1(), row(0.5, 1, 2), row(4)[0])
    assert_close(targets, row(1 + 0.5 * 3, 1 + 0.5 * (5 - 1), 5))
    assert_close(advantages, row(2, 2, 3))


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 1.0])
def test_generalized_advantages_at_a_time_limit_by_hand(lambda_: float) -> None:
    targets, advantages = generalized_advantages(*truncated_at_step_1(), row(0.5, 1, 2), row(4)[0], lambda_=lambda_)
    assert_close(advantages, row(1 + lambda_ * 0.5 * 4, 4, 3))
    assert_close(targets, row(1.5 + lambda_ * 0.5 * 4, 5, 5))


def test_an_episode_that_ends_by_itself_has_no_value_after_it() -> None:
    rewards, discounts = outcomes(row(1, 2), row(1, 0).bool(), row(0, 0), 0.9)
    assert (rewards == row(1, 2)).all()
    assert (discounts == row(0, 0.9)).all()


@settings(deadline=None, max_examples=30)
@given(steps=st.integers(1, 12), seed=st.integers(0, 1000))
def test_targets_are_the_defining_sum(steps: int, seed: int) -> None:
    """v_s = V_s + Σ_t (Π_{i<t} discount_i rho_i) δ_t, equation 1 of the paper with c = rho."""
    generator = torch.Generator().manual_seed(seed)
    batch = 3
    log_ratios, rewards, values = torch.randn(3, batch, steps, generator=generator, dtype=torch.float64)
    discounts = 0.9 * (torch.rand(batch, steps, generator=generator) > 0.2).double()
    bootstrap = torch.randn(batch, generator=generator, dtype=torch.float64)
    targets, advantages = vtrace(log_ratios, rewards, discounts, values, bootstrap)
    rho = log_ratios.exp().clamp(max=1)
    following = torch.cat([values, bootstrap[:, None]], 1)
    for b in range(batch):
        sums = [bootstrap[b]]
        for s in reversed(range(steps)):
            total = values[b, s]
            for t in range(s, steps):
                delta = rho[b, t] * (rewards[b, t] + discounts[b, t] * following[b, t + 1] - values[b, t])
                total = total + (discounts[b, s:t] * rho[b, s:t]).prod() * delta
            assert_close(targets[b, s], total)
            assert_close(advantages[b, s], rho[b, s] * (rewards[b, s] + discounts[b, s] * sums[-1] - values[b, s]))
            sums.append(total)


@pytest.mark.parametrize("lambda_", [0.0, 0.5, 1.0])
def test_generalized_advantages_by_hand(lambda_: float) -> None:
    targets, advantages = generalized_advantages(row(1, 2), row(0.5, 0.5), row(0.5, 1), row(4)[0], lambda_=lambda_)
    assert_close(advantages, row(1 + lambda_ * 0.5 * 3, 3))
    assert_close(targets, row(1.5 + lambda_ * 0.5 * 3, 4))


def test_numbers_of_the_reference_implementation() -> None:
    """`vtrace_advantage_estimate` of TorchRL 0.14.1 in float64; gamma is 0.99, which it rounds to float32, thresholds are 1."""
    log_pi = torch.tensor(
        [
            [-2.310411800234176, -0.3732508612577643, -1.0608166785462863, 0.9995093547811761, -0.8840250045832653],
            [-1.2755469302148053, -0.623224579866079, -0.8664416019125772, -1.2956271403277857, 1.52363162310635],
        ],
        dtype=torch.float64,
    )
    log_mu = torch.tensor(
        [
            [0.3236605664983738, 2.0177260314861085, 1.1357423400213507, -1.226881339001083, 0.07138847120511693],
            [0.3380174030507378, 0.15351883531544036, -0.6332746088675096, -1.2609246557194385, -0.726951062065411],
        ],
        dtype=torch.float64,
    )
    rewards = torch.tensor(
        [
            [-0.019964750907762653, 0.2102998901016947, 0.17718935139366584, -0.830510051008449, 0.7970100169250297],
            [0.21166418145300325, 0.13557114260567418, -0.033892918655373555, 0.4604689979691664, 1.117443076566861],
        ],
        dtype=torch.float64,
    )
    values = torch.tensor(
        [
            [0.36904473680395194, -0.1872021932975887, -0.013720701456433322, -0.19960822763281003, -1.6564246944540333],
            [0.9138982512742285, 1.154696227582466, -0.0860751366873787, -1.96124168414333, 0.22092437177232177],
        ],
        dtype=torch.float64,
    )
    bootstrap = row(-1.505489670928174, -0.6609825228054504)[0]
    discounts = torch.tensor(0.99).double() * (1 - torch.tensor([[0.0, 0, 0, 0, 0], [0, 0, 0, 1, 1]], dtype=torch.float64))
    expected_targets = torch.tensor(
        [
            [0.3289584350510878, -0.17111928729990167, -0.22405033878397032, -2.1036538457530054, -1.28600382068714],
            [0.9318815410299355, 0.8005275865111854, 0.25154342351866704, 0.3778710856516325, 1.117443076566861],
        ],
        dtype=torch.float64,
    )
    expected_advantages = torch.tensor(
        [
            [-0.04008630175286413, 0.016082905997687028, -0.21032963732753704, -1.904045618120196, 0.37042087376689337],
            [0.017983289755706955, -0.3541686410712805, 0.33761856020604575, 2.3391127697949625, 0.8965187047945393],
        ],
        dtype=torch.float64,
    )
    targets, advantages = vtrace(log_pi - log_mu, rewards, discounts, values, bootstrap)
    assert_close(targets, expected_targets, rtol=0, atol=1e-15)
    assert_close(advantages, expected_advantages, rtol=0, atol=1e-15)
