"""gymnasium environments, stepped in this process."""

import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.rl.envs.checks import common_spec
from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Frame
from srwm.rl.envs.spaces import Observations, actions_of, observations_of
from srwm.rl.envs.stepped import SteppedEnv

_PACKAGE_OF = {"popgym-": "popgym", "MiniGrid-": "minigrid", "BabyAI-": "minigrid"}


class LocalEnv(SteppedEnv):
    """One environment per id, stepped one after the other when they are observed. Ids: `CartPole-v1`, `module:Name-v0`.

    Each has its own seed, used once: what an environment does is independent of the others. An episode that is cut off by a
    time limit ends like any other. MiniGrid's symbols are seen one-hot; where a POPGym task needs it, the previous action
    (one-hot, zeros at an episode's first step) follows the observation.
    Raises UserError where an id is unknown, actions are not discrete, or the environments are not alike in their EnvSpec.
    """

    def __init__(self, names: Sequence[str], seeds: Sequence[int]) -> None:
        self._tasks = [_Task(name) for name in names]
        super().__init__(common_spec([(task.name, task.spec) for task in self._tasks]), names)
        self._seeds = tuple(seeds)
        self._actions: NDArray[np.int64] | None = None

    def _start(self, actions: NDArray[np.int64]) -> None:
        self._actions = actions.copy()

    def _wait(self) -> Frame:
        size = self.num_envs
        frame = Frame(
            np.empty((size, *self.spec.observation_shape), dtype=self.spec.observation_dtype),
            np.zeros(size, dtype=np.float32),
            np.zeros(size, dtype=np.bool_),
        )
        for row, task in enumerate(self._tasks):
            try:
                if self._actions is None:
                    frame.observation[row], frame.first[row] = task.reset(self._seeds[row]), True
                else:
                    frame.observation[row], frame.reward[row], frame.first[row] = task.step(int(self._actions[row]))
            except Exception as error:
                _report(error, row, task.name)
        return frame

    def _shut(self) -> None:
        for task in self._tasks:
            task.env.close()


class _Task:
    """One environment."""

    def __init__(self, name: str) -> None:
        self.name, self.env = name, _make(name)
        self._observations = _observations(self.env, name)
        self._actions = actions_of(self.env.action_space, name)
        shape = self._observations.shape
        self._with_action = len(shape) == 1 and getattr(self.env.unwrapped, "obs_requires_prev_action", False)
        if self._with_action:
            shape = (shape[0] + self._actions.count,)
        self.spec = EnvSpec(shape, self._observations.dtype, self._actions.count)

    def reset(self, seed: int | None = None) -> NDArray[Any]:
        return self._encode(self.env.reset(seed=seed)[0], None)

    def step(self, action: int) -> tuple[NDArray[Any], float, bool]:
        seen, reward, terminated, truncated, _ = self.env.step(self._actions.decode(action))
        over = bool(terminated or truncated)
        return self.reset() if over else self._encode(seen, action), float(reward), over

    def _encode(self, seen: Any, action: int | None) -> NDArray[Any]:
        encoded = self._observations.encode(seen)
        if not self._with_action:
            return encoded
        return np.concatenate([encoded, np.arange(self._actions.count) == (-1 if action is None else action)])


def _package(name: str) -> str | None:
    return next((package for prefix, package in _PACKAGE_OF.items() if name.startswith(prefix)), None)


def _observations(env: gymnasium.Env[Any, Any], name: str) -> Observations:
    if _package(name) == "minigrid":
        from srwm.rl.envs.minigrid import symbols_of

        return symbols_of(cast(Any, env.observation_space), name)
    return observations_of(env.observation_space, name)


def _make(name: str) -> gymnasium.Env[Any, Any]:
    package = _package(name)
    try:
        if package is not None:
            import_module(package)
        return gymnasium.make(name, disable_env_checker=True)
    except ModuleNotFoundError as error:
        hint = f"{error.name} is not installed: pip install 'srwm[rl]'" if error.name == package else error
        raise UserError(f"{name}: {hint}") from error
    except Exception as error:  # an environment's own constructor may raise anything
        raise UserError(f"{name}: {error}") from error


def _report(error: Exception, row: int, name: str) -> NoReturn:
    trace = "".join(traceback.format_exception(error))
    raise EnvCrashError(f"environment {row} ({name}) failed:\n{trace}") from error
