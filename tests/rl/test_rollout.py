"""Rollouts: in turns with the learner, or prefetched while it learns; what a time limit cuts off."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from srwm.rl.agent import Agent
from srwm.rl.envs import EnvCrashError
from srwm.rl.rollout import Actor, RolloutWorker
from srwm.training.finite import NotFiniteError


@pytest.fixture
def agent(env, config) -> Agent:
    return Agent(config.agent, env.spec)


def build(agent, env, *, overlap: bool) -> RolloutWorker:
    return RolloutWorker(agent, env, 3, torch.Generator().manual_seed(0), overlap=overlap)


def test_acting_runs_beside_learning(agent, env) -> None:
    learning, acted = threading.Event(), threading.Event()
    act = env.act

    def act_while_learning(actions) -> None:
        assert learning.wait(10)
        act(actions)
        acted.set()

    with build(agent, env, overlap=True) as rollout:
        rollout.take(env.num_envs)
        env.act = act_while_learning
        with rollout.prefetch(env.num_envs):
            learning.set()
            assert acted.wait(10)
        assert len(rollout.queue) == env.num_envs


def test_acting_beside_learning_keeps_the_weights_from_before(agent, env) -> None:
    with build(agent, env, overlap=True) as rollout:
        for _ in range(2):
            bias = agent.value.bias.item()
            with rollout.prefetch(env.num_envs), torch.no_grad():
                agent.value.bias += 100
            prefetched = rollout.take(env.num_envs)
            assert (prefetched.values - bias).abs().max() < 50
        assert (rollout.take(env.num_envs).values - agent.value.bias.item()).abs().max() < 50


def test_acting_beside_learning_leaves_it_its_threads(agent, env) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = []

    def act(actions, act=env.act) -> None:
        seen.append(torch.get_num_threads())
        act(actions)

    try:
        with build(agent, env, overlap=True) as rollout:
            rollout.take(1)
            env.act = act
            with rollout.prefetch(env.num_envs):
                assert torch.get_num_threads() == 2
            with ThreadPoolExecutor(1) as other:
                assert other.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1, 1]


def test_in_turns_nothing_is_prefetched(agent, env) -> None:
    with build(agent, env, overlap=False) as rollout, rollout.prefetch(env.num_envs):
        assert not len(rollout.queue)


def test_no_more_is_prefetched_than_the_next_update_needs(agent, env) -> None:
    with build(agent, env, overlap=True) as rollout:
        rollout.take(1)
        with rollout.prefetch(env.num_envs - 1):
            pass
        assert len(rollout.queue) == env.num_envs - 1


def test_steps_and_episodes_are_counted_once(agent, env) -> None:
    with build(agent, env, overlap=True) as rollout:
        ended = int(rollout.take(env.num_envs).firsts[:, 1:].sum())
        with rollout.prefetch(env.num_envs):
            pass
        ended += int(rollout.take(env.num_envs).firsts[:, 1:].sum())
        steps, episodes = rollout.pop_stats()
        assert (steps, len(episodes)) == (6 * env.num_envs, ended)
        assert rollout.pop_stats() == (0, [])


def test_a_crash_beside_learning_is_raised_after_it(agent, env) -> None:
    def crash(actions) -> None:
        raise EnvCrashError("environment 0")

    env.act, learned = crash, False
    with build(agent, env, overlap=True) as rollout:
        with pytest.raises(EnvCrashError), rollout.prefetch(env.num_envs):
            learned = True
        with pytest.raises(ZeroDivisionError), rollout.prefetch(env.num_envs):
            raise ZeroDivisionError
    assert learned


def test_what_waits_continues_where_the_agent_is(agent, env) -> None:
    """Frames and actions are on the CPU wherever the agent is; the core's states are with it. `meta` is any other device."""
    meta = torch.device("meta")
    with build(agent, env, overlap=False) as rollout:
        rollout.take(1)
        state = rollout.get_state()
        rollout.actor.device = meta
        rollout.set_state(state)
        waiting = rollout.queue.take(env.num_envs - 1)
    assert all(part.device == meta for part in waiting.state)
    assert all(part.device.type == "cpu" for part in waiting[:-1])
    assert (waiting.actions == state["queue"][3]).all()


@pytest.mark.parametrize("carry", ["always", "unroll"])
def test_a_final_observation_has_its_value_from_the_state_before_the_reset(endless, config, carry) -> None:
    """The agent reads the episode's frames and then the final observation; nothing else is read where no limit comes."""
    stack = replace(config.agent.stack, carry=carry, unroll_length=4 if carry == "unroll" else None)
    agent = Agent(replace(config.agent, stack=stack), endless().spec)
    unrolls, _ = Actor(agent, endless(length=3), 7, torch.Generator().manual_seed(0)).unroll()
    cut_off = unrolls.firsts[:, 1:]
    assert cut_off.sum(1).tolist() == [2] * 4
    assert ((unrolls.final_values != 0) == cut_off).all()
    observations = torch.cat([torch.ones(4, 3, 2), torch.full((4, 1, 2), 3.0)], 1)
    rewards, firsts = torch.tensor([[0.0, 1, 1, 1]] * 4), torch.tensor([[True, False, False, False]] * 4)
    _, values, _ = agent(observations, rewards, firsts)
    assert_close(unrolls.final_values[:, 2], values[:, 3])


def test_an_episode_that_ends_by_itself_has_no_final_value(endless, config) -> None:
    agent = Agent(config.agent, endless().spec)
    unrolls, _ = Actor(agent, endless(truncates=False), 7, torch.Generator().manual_seed(0)).unroll()
    assert unrolls.firsts[:, 1:].any()
    assert not unrolls.final_values.any()


def test_a_final_observation_that_is_not_finite_is_named(endless, config) -> None:
    env = endless()
    observe = env.observe

    def spoil():
        frame = observe()
        if frame.truncation is not None:
            frame.truncation.observation[0] = np.nan
        return frame

    env.observe = spoil
    actor = Actor(Agent(config.agent, env.spec), env, 7, torch.Generator().manual_seed(0))
    with pytest.raises(NotFiniteError, match="observations"):
        actor.unroll()


def test_final_values_wait_with_their_unrolls(endless, config) -> None:
    agent = Agent(config.agent, endless().spec)
    with build(agent, endless(), overlap=False) as rollout:
        rollout.take(1)
        state = rollout.get_state()
        waiting = rollout.take(3)
        rollout.set_state(state)
        restored = rollout.take(3)
    assert waiting.final_values.any()
    assert (restored.final_values == waiting.final_values).all()
