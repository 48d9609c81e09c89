"""Scores: every environment plays its share, statistics are those that they are called, intervals hold what they should."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from srwm.rl.agent import Agent
from srwm.rl.envs import EnvConfig, EnvCrashError, ProcgenConfig
from srwm.rl.evaluate import estimate, interquartile_mean, level_sets, mean, normalize, play
from srwm.rl.rollout import frame_tensors


@pytest.mark.parametrize("greedy", [True, False])
def test_each_task_plays_as_many_episodes(env, config, greedy) -> None:
    returns = play(Agent(config.agent, env.spec), env, 7, greedy=greedy)
    assert set(returns) == {"again", "recall"}
    assert all(len(values) == 7 and set(values) <= {0.0, 1.0} for values in returns.values())


def test_chance_does_not_ask_the_agent(env, config) -> None:
    """An agent that would always take action 0 against one symbol; at random half of the actions are correct."""
    env.generator = SimpleNamespace(integers=lambda count, size: np.ones(size, int))
    env.symbol[:] = 1
    agent = Agent(config.agent, env.spec)
    with torch.no_grad():
        agent.policy.weight.zero_()
        agent.policy.bias.copy_(torch.tensor([9.0, -9.0]))
    assert play(agent, env, 40)["recall"].mean() == 0
    assert play(agent, env, 400, chance=True)["recall"].mean() == pytest.approx(0.5, abs=0.15)


def test_the_agent_is_in_evaluation_mode_meanwhile(env, config) -> None:
    """Also where an environment fails."""
    agent, act, modes = Agent(config.agent, env.spec), env.act, []

    def remember(actions) -> None:
        modes.append(agent.training)
        if len(modes) == 4:
            raise EnvCrashError("environment 0")
        act(actions)

    env.act = remember
    for training in (True, False):
        modes.clear()
        agent.train(training)
        with pytest.raises(EnvCrashError):
            play(agent, env, 20)
        assert agent.training == training
        assert modes == [False] * 4


def test_short_episodes_are_not_favored(env, config) -> None:
    """Rows 0 and 2 have one task; the episodes of row 0 take five times as long and earn nothing."""
    observe, clock = env.observe, [0]

    def slow():
        frame = observe()
        clock[0] += 1
        frame.first[0] = clock[0] % 15 == 0
        frame.reward[0] = 0
        frame.reward[2] = frame.first[2]
        return frame

    env.observe = slow
    assert play(Agent(config.agent, env.spec), env, 8)["again"].mean() == pytest.approx(0.5, abs=0.13)


def test_an_environment_that_has_played_its_share_is_not_shown_again(env, config, monkeypatch) -> None:
    """And what the agent does in the others is what it does with all of them in view."""
    agent = Agent(config.agent, env.spec).eval()
    start, forward, act = env.get_state(), agent.forward, env.act
    shown, acted = [], []
    monkeypatch.setattr(agent, "forward", lambda *frame: shown.append(len(frame[0])) or forward(*frame))
    monkeypatch.setattr(env, "act", lambda actions: acted.append(actions) or act(actions))
    play(agent, env, 7)
    env.set_state(start)
    left, state = np.array([4, 4, 3, 3]), agent.core.initial_state(4)
    for count, actions in zip(shown, acted, strict=True):
        playing = left > 0
        assert count == playing.sum()
        with torch.no_grad():
            logits, _, state = forward(*frame_tensors(env.observe(), torch.device("cpu")), state)
        assert (actions == logits[:, 0].argmax(-1).numpy())[playing].all()
        act(actions)
        left -= env.first
    assert not (left > 0).any()
    assert len(set(shown)) > 2


def test_interquartile_mean_by_hand() -> None:
    assert interquartile_mean(np.array([100.0, 1, 2, 3, 4, 5, 6, -50])) == pytest.approx(3.5)
    assert interquartile_mean(np.array([[1.0, 2, 9]])) == pytest.approx([4.0])


def test_normalized_scores_by_hand() -> None:
    scores = normalize({"bigfish": np.array([1.0, 40.0]), "fruitbot": np.array([-1.5, 32.4])}, EnvConfig())
    assert scores is not None
    assert all(list(values) == [0.0, 1.0] for values in scores.values())
    assert normalize({"miner": np.array([1.0])}, EnvConfig()) is None


@pytest.mark.parametrize(
    "config",
    [EnvConfig(procgen=ProcgenConfig("memory")), EnvConfig(procgen=ProcgenConfig("hard")), EnvConfig(kind="gymnasium")],
)
def test_ranges_are_those_of_easy_games_alone(config) -> None:
    assert normalize({"maze": np.array([5.0])}, config) is None


@pytest.mark.parametrize("statistic", [mean, interquartile_mean])
def test_intervals_hold_the_truth_about_as_often_as_they_say(statistic) -> None:
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(100):
        found = estimate({name: generator.normal(2.0, 1.0, 50) for name in "ab"}, statistic, seed)
        assert found.low < found.value < found.high
        held += found.low <= 2.0 <= found.high
    assert 88 <= held <= 99


def test_level_sets_of_procgen_are_the_published_ones() -> None:
    sets = level_sets(EnvConfig(), episodes=200)
    assert [(c.procgen.start_level, c.procgen.num_levels) for c in sets.values()] == [
        (0, 200),
        (1000, 200),
        (1200, 200),
        (1400, 200),
    ]
    assert list(level_sets(EnvConfig(kind="gymnasium", names=("CartPole-v1",)), 10)) == ["tasks"]


@pytest.mark.parametrize(
    ("start", "count", "left"),
    [(0, 1000, 3), (0, 1001, 2), (1100, 250, 1), (1599, 9, 2), (1600, 9, 3), (0, 5000, 0), (0, 0, 3)],
)
@pytest.mark.filterwarnings("ignore:no test on levels")
def test_levels_of_training_are_no_test(start, count, left) -> None:
    config = EnvConfig(procgen=ProcgenConfig(num_levels=count, start_level=start))
    assert len(level_sets(config, 10)) == 1 + left


def test_levels_that_are_no_test_are_reported() -> None:
    with pytest.warns(UserWarning, match="no test on levels 1000 to 1199, 1200 to 1399: training has levels 1100 to 1299"):
        level_sets(EnvConfig(procgen=ProcgenConfig(num_levels=200, start_level=1100)), 10)
