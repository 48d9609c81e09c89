"""Environments of gymnasium, and random actions in them."""

import numpy as np

from srwm.rl.envs import EnvConfig


def config(*names, num_envs=2, workers=0):
    return EnvConfig("gymnasium", names, num_envs, workers=workers)


def frames(env, steps, seed=0):
    """The first frame and one after each of random actions."""
    random = np.random.default_rng(seed)
    yield env.observe()
    for _ in range(steps):
        env.act(random.integers(env.spec.num_actions, size=env.num_envs))
        yield env.observe()
