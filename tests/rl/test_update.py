"""Acting and learning read the same frames in the same way, and no bad number gets into the weights."""

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from torch.testing import assert_close

from srwm.nn import StackConfig
from srwm.rl.agent import Agent
from srwm.rl.config import OptimizerConfig, PPOConfig
from srwm.rl.losses import log_probability, ppo_losses
from srwm.rl.presets import CORES, with_core
from srwm.rl.rollout import Actor, Unrolls
from srwm.rl.update import ForwardPass, Learner
from srwm.rl.vtrace import generalized_advantages, vtrace
from srwm.training.finite import NotFiniteError


@pytest.mark.parametrize("core", CORES)
def test_the_learner_reads_what_the_actor_has_read(env, config, core) -> None:
    """One pass over an unroll from its stored state says what acting said step by step, resets included."""
    torch.manual_seed(0)
    agent = Agent(with_core(config, core).agent, env.spec)
    actor = Actor(agent, env, 7, torch.Generator().manual_seed(0))
    actor.unroll()
    unrolls, _ = actor.unroll()
    assert unrolls.firsts[:, 1:-1].any()
    logits, values = ForwardPass(agent)(unrolls)
    assert values.shape == (4, 8)
    assert_close(log_probability(logits, unrolls.actions), unrolls.log_probs, rtol=1e-4, atol=1e-5)
    assert_close(values, unrolls.values, rtol=1e-4, atol=1e-5)


def test_unrolls_overlap_in_one_frame_and_count_every_episode(env, config) -> None:
    actor = Actor(Agent(config.agent, env.spec), env, 7, torch.Generator().manual_seed(0))
    (before, ended), (after, also_ended) = actor.unroll(), actor.unroll()
    for name in ("observations", "rewards", "firsts"):
        assert (getattr(before, name)[:, -1] == getattr(after, name)[:, 0]).all()
    firsts = torch.cat([before.firsts, after.firsts[:, 1:]], 1)
    assert len(ended) + len(also_ended) == firsts[:, 1:].sum()
    assert sum(episode.return_ for episode in ended) == before.rewards[:, 1:].sum()


def test_unrolls_are_joined_and_selected_row_by_row(env, config) -> None:
    actor = Actor(Agent(config.agent, env.spec), env, 3, torch.Generator().manual_seed(0))
    first, second = actor.unroll()[0], actor.unroll()[0]
    joined = Unrolls.join([first, second])
    assert (joined.select(slice(4, None)).actions == second.actions).all()
    assert (joined.select(torch.tensor([0, 5])).state[0][1] == second.state[0][1]).all()


@pytest.mark.parametrize("algorithm", ["impala", "ppo"])
def test_a_loss_that_is_not_finite_is_named_and_changes_nothing(env, config, algorithm) -> None:
    agent = Agent(config.agent, env.spec)
    learner = Learner(agent, replace(config, algorithm=algorithm), Fabric(accelerator="cpu", devices=1))
    unrolls, _ = Actor(agent, env, 7, torch.Generator().manual_seed(0)).unroll()
    with torch.no_grad():
        agent.value.bias.fill_(1e30)
    before = {name: weight.clone() for name, weight in agent.state_dict().items()}
    with pytest.raises(NotFiniteError, match="value loss"):
        learner.update(unrolls, 1e-3)
    assert all((weight == before[name]).all() for name, weight in agent.state_dict().items())


def test_a_loss_of_a_later_minibatch_that_is_not_finite_changes_nothing_more(env, config, monkeypatch) -> None:
    """What the minibatches before have learned stays."""
    learner, unrolls = build(env, replace(config, algorithm="ppo", ppo=PPOConfig(epochs=1, minibatches=2)))
    losses, weights = [], []

    def spoil(*arguments, **options):
        weights.append({name: weight.clone() for name, weight in learner.agent.state_dict().items()})
        losses.append(ppo_losses(*arguments, **options))
        return losses[-1]._replace(value=losses[-1].value * (torch.nan if len(losses) == 2 else 1))

    monkeypatch.setattr("srwm.rl.update.ppo_losses", spoil)
    with pytest.raises(NotFiniteError, match="value loss"):
        learner.update(unrolls, 1e-3)
    assert any((weight != weights[0][name]).any() for name, weight in weights[1].items())
    assert all((weight == weights[1][name]).all() for name, weight in learner.agent.state_dict().items())


@pytest.mark.parametrize("algorithm", ["impala", "ppo"])
def test_an_update_tells_how_it_goes(env, config, algorithm) -> None:
    """From the policy that acted there is no divergence yet; ratios are clipped by PPO alone."""
    agent = Agent(config.agent, env.spec)
    config = replace(config, algorithm=algorithm, ppo=PPOConfig(epochs=1, minibatches=1))
    learner = Learner(agent, config, Fabric(accelerator="cpu", devices=1))
    unrolls, _ = Actor(agent, env, 7, torch.Generator().manual_seed(0)).unroll()
    metrics = learner.update(unrolls, 1e-2)
    assert metrics["approx_kl"] == pytest.approx(0, abs=1e-6)
    rewards, discounts = unrolls.rewards[:, 1:].clamp(-1, 1), 0.99 * (~unrolls.firsts[:, 1:]).float()
    values, last = unrolls.values[:, :-1], unrolls.values[:, -1]
    if algorithm == "ppo":
        targets = generalized_advantages(rewards, discounts, values, last, lambda_=0.95).targets
        assert metrics["clip_fraction"] == 0
    else:
        targets = vtrace(torch.zeros_like(rewards), rewards, discounts, values, last).targets
        assert "clip_fraction" not in metrics
    assert metrics["explained_variance"] == pytest.approx(1 - float((targets - values).var() / targets.var()), abs=1e-4)
    assert learner.update(unrolls, 1e-2)["approx_kl"] > 1e-6


def test_gradients_are_those_of_sums_over_steps(env, config) -> None:
    """Twice the same unrolls make twice the gradient."""
    agent = Agent(config.agent, env.spec)
    optimizer = replace(config.optimizer, clip_norm=None)
    learner = Learner(agent, replace(config, optimizer=optimizer), Fabric(accelerator="cpu", devices=1))
    unrolls, _ = Actor(agent, env, 7, torch.Generator().manual_seed(0)).unroll()
    once = learner.update(unrolls, 0.0)
    twice = learner.update(Unrolls.join([unrolls, unrolls]), 0.0)
    assert twice["gradient_norm"] == pytest.approx(2 * once["gradient_norm"], rel=1e-4)
    assert twice["entropy"] == pytest.approx(once["entropy"], rel=1e-4)


def test_a_plain_stack_that_resizes_takes_the_features_directly(env, config) -> None:
    lstm = replace(config.agent, stack=StackConfig(core="lstm", d_model=16, num_layers=1, ff_factor=0, residual="none"))
    assert isinstance(Agent(lstm, env.spec).core_input, torch.nn.Identity)
    assert isinstance(Agent(config.agent, env.spec).core_input, torch.nn.Linear)


def build(env, config) -> tuple[Learner, Unrolls]:
    """A learner, and unrolls by the policy that it had before its weights moved, with rewards beyond the limit."""
    agent = Agent(config.agent, env.spec)
    unrolls, _ = Actor(agent, env, 7, torch.Generator().manual_seed(0)).unroll()
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return Learner(agent, config, Fabric(accelerator="cpu", devices=1)), unrolls._replace(rewards=5 * unrolls.rewards)


def test_what_impala_s_targets_are_made_of(env, config, monkeypatch) -> None:
    """Clipped rewards, no discount where an episode begins, log-probabilities of learner less actor, the learner's values."""
    learner, unrolls = build(env, config)
    with torch.no_grad():
        logits, values = ForwardPass(learner.agent)(unrolls)
    seen = {}

    def spy(log_ratios, rewards, discounts, values, bootstrap):
        seen.update(locals())
        return vtrace(log_ratios, rewards, discounts, values, bootstrap)

    monkeypatch.setattr("srwm.rl.update.vtrace", spy)
    learner.update(unrolls, 1e-3)
    assert unrolls.rewards.max() == 5
    assert_close(seen["rewards"], unrolls.rewards[:, 1:].clamp(-1, 1))
    assert_close(seen["discounts"], 0.99 * (~unrolls.firsts[:, 1:]).float())
    assert_close(seen["log_ratios"], log_probability(logits, unrolls.actions) - unrolls.log_probs)
    assert seen["log_ratios"].abs().max() > 1e-3
    assert_close((seen["values"], seen["bootstrap"]), (values[:, :-1], values[:, -1]))


def test_what_ppo_learns_from(env, config, monkeypatch) -> None:
    """Advantages from the acting agent's values, normalized over all steps of the update."""
    learner, unrolls = build(env, replace(config, algorithm="ppo", ppo=PPOConfig(epochs=1, minibatches=2)))
    given = []

    def spy(logits, values, actions, returns, behavior, *, clip):
        given.append(returns.advantages)
        return ppo_losses(logits, values, actions, returns, behavior, clip=clip)

    monkeypatch.setattr("srwm.rl.update.ppo_losses", spy)
    learner.update(unrolls, 1e-3)
    rewards, discounts = unrolls.rewards[:, 1:].clamp(-1, 1), 0.99 * (~unrolls.firsts[:, 1:]).float()
    values, last = unrolls.values[:, :-1], unrolls.values[:, -1]
    raw = generalized_advantages(rewards, discounts, values, last, lambda_=0.95).advantages
    expected = (raw - raw.mean()) / raw.std(correction=0)
    found = torch.cat(given)
    assert_close(found[found[:, 0].argsort()], expected[expected[:, 0].argsort()], rtol=1e-4, atol=1e-5)


def test_the_first_step_of_rmsprop_by_hand(env, config) -> None:
    """The mean square starts at 0, and ε stands outside of the root."""
    optimizer = OptimizerConfig("rmsprop", lr=1.0, alpha=0.99, eps=0.01, clip_norm=None)
    learner, unrolls = build(env, replace(config, optimizer=optimizer))
    before = {name: parameter.detach().clone() for name, parameter in learner.agent.named_parameters()}
    learner.update(unrolls, 2e-3)
    for name, parameter in learner.agent.named_parameters():
        gradient = parameter.grad
        assert_close(parameter.detach(), before[name] - 2e-3 * gradient / ((0.01 * gradient**2).sqrt() + 0.01))


def test_long_gradients_are_shortened(env, config) -> None:
    lengths = []
    for limit in (1e6, 0.5):
        torch.manual_seed(0)
        learner, unrolls = build(type(env)(), replace(config, optimizer=replace(config.optimizer, clip_norm=limit)))
        metrics = learner.update(unrolls, 1e-3)["gradient_norm"]
        used = torch.nn.utils.get_total_norm([p.grad for p in learner.agent.parameters()]).item()
        lengths.append((metrics, used))
    (whole, unclipped), (metrics, clipped) = lengths
    assert whole == pytest.approx(metrics) == pytest.approx(unclipped)
    assert whole > 1
    assert clipped == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("algorithm", ["impala", "ppo"])
@pytest.mark.parametrize("truncates", [True, False])
def test_a_time_limit_is_no_end(endless, config, algorithm, truncates) -> None:
    """A reward of 1 at every step is worth 1 / (1 - 0.8) = 5, a time limit or not; where episodes end, at most 1 + 0.8."""
    torch.manual_seed(0)
    optimizer = OptimizerConfig("adam", eps=1e-5, clip_norm=None)
    stack = StackConfig(core="none", d_model=8, num_layers=1, ff_factor=0, residual="none")
    ppo = PPOConfig(epochs=1, minibatches=1)
    config = replace(config, algorithm=algorithm, discount=0.8, value_cost=1.0, optimizer=optimizer, ppo=ppo)
    env = endless(num_envs=2, length=2, truncates=truncates, final=1.0)
    agent = Agent(replace(config.agent, stack=stack), env.spec)
    learner = Learner(agent, config, Fabric(accelerator="cpu", devices=1))
    actor = Actor(agent, env, 5, torch.Generator().manual_seed(0))
    for update in range(160 if truncates else 40):
        learner.update(actor.unroll()[0], 0.02 if update < 120 else 0.004)
    values = actor.unroll()[0].values
    if truncates:
        assert_close(values, torch.full_like(values, 5.0), rtol=0.05, atol=0)
    else:
        assert values.max() < 2
