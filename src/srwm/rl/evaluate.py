"""Returns of a trained agent: per task, normalized, and over all tasks, with bootstrap intervals."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from srwm.nn import index
from srwm.rl.agent import Agent
from srwm.rl.envs import EnvConfig, ProcgenConfig, VectorEnv
from srwm.rl.rollout import frame_tensors
from srwm.training.modes import evaluation_mode

Scores: TypeAlias = Mapping[str, NDArray[np.float64]]
"""One number per episode, (episodes,), by task."""

RANGES = {
    "bigfish": (1.0, 40.0),
    "fruitbot": (-1.5, 32.4),
    "maze": (5.0, 10.0),
    "leaper": (3.0, 10.0),
    "plunder": (4.5, 30.0),
    "starpilot": (2.5, 64.0),
}
"""Returns of ProcGen's easy games that correspond to the normalized scores 0 and 1; Cobbe et al. (2020)."""

_TEST_LEVELS = (1000, 1200, 1400)
"""Number of the first level of each set of test levels."""
_LEVELS = 200
"""Number of levels in each set of test levels."""
_ENVS_PER_TASK = 32
_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A statistic of episodes and its 95 % interval from a bootstrap over them."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As "12.3 [11.9, 12.8]"."""
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def level_sets(config: EnvConfig, episodes: int) -> dict[str, EnvConfig]:
    """The environments to evaluate in: for ProcGen the training levels and three sets of test levels, else the same tasks.

    A set of test levels that overlaps with the training levels is left out, with a warning. It is kept if training uses all
    2^31 - 1 levels, of which one in four million is a test level.

    Args:
        config: the environments of training.
        episodes: number of episodes per task and level set.

    Returns:
        Environments by name of their level set.
    """
    config = replace(config, num_envs=len(config.names) * min(episodes, _ENVS_PER_TASK))
    if config.kind != "procgen":
        return {"tasks": config}

    def levels(start: int) -> ProcgenConfig:
        return replace(config.procgen, num_levels=_LEVELS, start_level=start)

    first, end = config.procgen.start_level, config.procgen.start_level + config.procgen.num_levels
    new = [start for start in _TEST_LEVELS if start >= end or start + _LEVELS <= first or not config.procgen.num_levels]
    if len(new) < len(_TEST_LEVELS):
        known = ", ".join(f"{start} to {start + _LEVELS - 1}" for start in _TEST_LEVELS if start not in new)
        warnings.warn(f"no test on levels {known}: training has levels {first} to {end - 1}", stacklevel=2)
    return {"train": config} | {f"test from {start}": replace(config, procgen=levels(start)) for start in new}


@torch.no_grad()
def play(
    agent: Agent, env: VectorEnv, episodes: int, *, greedy: bool = True, chance: bool = False, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Play episodes of each task, with the agent in evaluation mode.

    All environments of a task play the same number of episodes, give or take one, so short episodes are not favored. An
    environment that has played its episodes is no longer evaluated by the agent.

    Args:
        agent: the agent.
        env: its environments.
        episodes: number of episodes per task.
        greedy: take the most probable actions instead of sampling from the policy.
        chance: play random actions (uniform) instead.
        seed: random seed of the sampled actions.

    Returns:
        The returns of the episodes by task.

    Raises:
        EnvCrashError: an environment failed.
    """
    device = next(agent.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    left = _shares(env.names, episodes)
    returns: dict[str, list[float]] = {name: [] for name in sorted(set(env.names))}
    totals = np.zeros(env.num_envs)
    state, frame = agent.core.initial_state(env.num_envs), env.observe()
    playing = np.arange(env.num_envs)
    with (
        evaluation_mode(agent),
        tqdm(total=int(left.sum()), unit=" episodes", leave=False, disable=None, dynamic_ncols=True) as bar,
    ):
        while left.any():
            policy = torch.ones(env.num_envs, env.spec.num_actions, dtype=torch.float32, device="cpu")
            if not chance:
                go_on = left[playing] > 0
                if not go_on.all():
                    playing, state = playing[go_on], index(state, torch.from_numpy(go_on).to(device))
                logits, _, state = agent(*frame_tensors(frame.select(playing), device), state)
                policy[playing] = logits[:, 0].float().softmax(-1).cpu()
            actions = policy.argmax(-1) if greedy and not chance else torch.multinomial(policy, 1, generator=generator)[:, 0]
            env.act(actions.numpy())
            frame = env.observe()
            totals += frame.reward
            for row in np.flatnonzero(frame.first):
                if left[row]:
                    left[row] -= 1
                    returns[env.names[row]].append(float(totals[row]))
                    bar.update()
                totals[row] = 0.0
    return {name: np.array(values) for name, values in returns.items()}


def normalize(returns: Scores, config: EnvConfig) -> dict[str, NDArray[np.float64]] | None:
    """Normalized scores (R - min) / (max - min) with the ranges of `RANGES`.

    Args:
        returns: the returns by task.
        config: the environments.

    Returns:
        The scores by task; None if a task has no range: only ProcGen's easy games have ranges.
    """
    easy = config.kind == "procgen" and config.procgen.distribution_mode == "easy"
    if not easy or not returns.keys() <= RANGES.keys():
        return None
    return {name: (values - RANGES[name][0]) / (RANGES[name][1] - RANGES[name][0]) for name, values in returns.items()}


def mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the last axis.

    Args:
        scores: (..., n).

    Returns:
        (...).
    """
    result: NDArray[np.float64] = scores.mean(-1)
    return result


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the middle half of the last axis: a quarter of the numbers, rounded down, is dropped at each end.

    Agarwal et al. (2021) use it over the scores of several runs. Here it is over the episodes of one run.

    Args:
        scores: (..., N).

    Returns:
        (...).
    """
    count = scores.shape[-1]
    return mean(np.sort(scores, -1)[..., count // 4 : count - count // 4])


def estimate(scores: Scores, statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]] = mean, seed: int = 0) -> Estimate:
    """A statistic of the episodes of all tasks together, with its 95 % interval.

    The interval is a percentile bootstrap over 2000 resamples, stratified by task. It reflects the variation between episodes,
    not between training runs.

    Args:
        scores: scores by task, with the same number of episodes for each.
        statistic: a function over the last axis.
        seed: random seed of the resamples.

    Returns:
        The statistic and its interval.
    """
    generator = np.random.default_rng(seed)
    resamples = [values[generator.integers(len(values), size=(_RESAMPLES, len(values)))] for values in scores.values()]
    low, high = np.quantile(statistic(np.concatenate(resamples, -1)), [0.025, 0.975])
    return Estimate(float(statistic(np.concatenate(list(scores.values())))), float(low), float(high))


def _shares(names: tuple[str, ...], episodes: int) -> NDArray[np.int64]:
    shares = np.zeros(len(names), np.int64)
    for name in set(names):
        rows = [row for row, other in enumerate(names) if other == name]
        shares[rows] = [len(range(k, episodes, len(rows))) for k in range(len(rows))]
    return shares
