"""Returns of random actions, for comparison with those of training."""

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
"""Per task."""
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
    """Play random actions in environments of their own, whose seed no training has.

    Args:
        config: the environments of the training.
        seed: the seed of the training.

    Returns:
        The mean return of each task, as `random_returns`.

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
    """The mean return of random actions over the first episode of each environment.

    So long and short episodes count alike. A task of which an episode does not end in `max_steps` steps, or before
    `max_seconds` have passed, is left out.
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
    """That of the mean over the tasks; None where a task is not known."""
    if not tasks or not chance.keys() >= tasks:
        return None
    parts = [chance[task] for task in tasks]
    return Chance(sum(part.mean for part in parts) / len(parts), math.hypot(*(part.error for part in parts)) / len(parts))


@contextmanager
def _kept_random_states() -> Iterator[None]:
    """The process's own generators are left as they were: an environment may draw from them."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
