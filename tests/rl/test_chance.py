"""The return of random actions equals the return of guessing, and measuring it does not change training."""

import random

import numpy as np
import pytest
import torch

from srwm.rl.chance import Chance, mean_chance, measure_chance, random_returns
from srwm.rl.envs import EnvConfig


def test_random_actions_guess_one_symbol_in_two(env) -> None:
    chance = random_returns(type(env)(num_envs=800), seed=0)
    for task in ("again", "recall"):
        mean, error = chance[task]
        assert error == pytest.approx((0.25 / 400) ** 0.5, rel=0.02)
        assert abs(mean - 0.5) < 4 * error


def test_every_environment_counts_once(env) -> None:
    """Short episodes do not count more often than long ones: each environment gives its first."""
    one = random_returns(type(env)(num_envs=2, num_actions=1, length=3), seed=0)
    assert one == {"again": Chance(1.0, 0.0), "recall": Chance(1.0, 0.0)}


def test_a_task_whose_episodes_do_not_end_is_left_out(env) -> None:
    assert random_returns(type(env)(length=50), seed=0, max_steps=20) == {}
    assert random_returns(type(env)(length=50), seed=0, max_seconds=0.0) == {}


def test_the_mean_over_tasks_needs_all_of_them() -> None:
    chance = {"a": Chance(1.0, 0.3), "b": Chance(3.0, 0.4)}
    assert mean_chance(chance, {"a", "b"}) == Chance(2.0, pytest.approx(0.25))
    assert mean_chance(chance, {"a", "c"}) is None
    assert mean_chance({}, set()) is None


def test_constant_returns_are_within_their_own_limit() -> None:
    assert Chance(0.0, 0.0).limit > 0.0


def test_measuring_leaves_the_generators_of_the_process_as_they_were() -> None:
    pytest.importorskip("gymnasium")
    config = EnvConfig(kind="gymnasium", names=("CartPole-v1",), num_envs=2)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    chance = measure_chance(config, seed=0)
    assert measure_chance(config, seed=0) == chance
    assert 10 < chance["CartPole-v1"].mean < 40
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
