"""Returns of random actions, for comparison with the returns of training."""

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from srwm.rl.envs import EnvConfig, VectorEnv, build_env
from srwm.rl.seeds import evaluation_seed

_ACTIONS = 1
_EPISODES = 16
"""Episodes per task."""
_MAX_STEPS = 1000
_MAX_SECONDS = 10.0


class Chance(NamedTuple):
    """The mean return of random actions, and its standard error."""

    mean: float
    error: float

    @property
    def limit(self) -> float:
        """Mean returns below it count as chance: two standard errors above the mean."""
        return math.nextafter(self.mean + 2 * self.error, math.inf)


def measure_chance(config: EnvConfig, seed: int) -> dict[str, Chance]:
    """Measure the returns of random actions, in separate environments whose seed training never uses.

    Args:
        config: the environments of the training.
        seed: the seed of the training.

    Returns:
        The mean return of each task, as in `random_returns`.

    Raises:
        UserError: an environment cannot be made.
        EnvCrashError: an environment fails.
    """
    own = evaluation_seed(seed)
    with _kept_random_states(), build_env(replace(config, num_envs=_EPISODES * len(config.names), workers=0), own) as env:
        return random_returns(env, own)


def random_returns(
    env: VectorEnv, seed: int, *, max_steps: int = _MAX_STEPS, max_seconds: float = _MAX_SECONDS
) -> dict[str, Chance]:
    """Measure the returns of random actions over the first episode of each environment, so that short episodes are not
    favored.

    Args:
        env: the environments.
        seed: seed of the actions.
        max_steps: largest number of steps per environment.
        max_seconds: largest duration, in seconds.

    Returns:
        The mean return of each task, without tasks in which an episode did not end within these limits.
    """
    generator = np.random.default_rng([seed, _ACTIONS])  # the environments may have one of this seed alone
    until = time.monotonic() + max_seconds
    totals, running = np.zeros(env.num_envs), np.ones(env.num_envs, bool)
    env.observe()
    for _ in range(max_steps):
        env.act(generator.integers(env.spec.num_actions, size=env.num_envs))
        frame = env.observe()
        totals += np.where(running, frame.reward, 0.0)
        running &= ~frame.first
        if not running.any() or time.monotonic() > until:
            break
    names = np.array(env.names)
    ended = {name: totals[names == name] for name in sorted(set(env.names)) if not running[names == name].any()}
    return {name: Chance(float(values.mean()), _standard_error(values)) for name, values in ended.items()}


def mean_chance(chance: dict[str, Chance], tasks: set[str]) -> Chance | None:
    """The mean over tasks of the returns of random actions.

    Args:
        chance: the returns by task.
        tasks: the tasks.

    Returns:
        The mean and its standard error; None if a task is missing.
    """
    if not tasks or not chance.keys() >= tasks:
        return None
    parts = [chance[task] for task in tasks]
    return Chance(sum(part.mean for part in parts) / len(parts), math.hypot(*(part.error for part in parts)) / len(parts))


@contextmanager
def _kept_random_states() -> Iterator[None]:
    """A context that restores the global random generators afterwards, since an environment may use them."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
