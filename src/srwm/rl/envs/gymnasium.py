"""gymnasium environments in this process, and the conversion of their observation and action spaces."""

import traceback
from collections.abc import Sequence
from enum import EnumType
from importlib import import_module
from typing import Any, NoReturn, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Frame, Truncation
from srwm.rl.envs.spaces import Observations, actions_of, observations_of, symbols_of
from srwm.rl.envs.vector import SteppedEnv, common_spec

_ERRORS = (Exception, SystemExit, GeneratorExit)
"""What the code of an environment may raise. KeyboardInterrupt is the user's."""

_PACKAGE_OF = {"popgym-": "popgym", "MiniGrid-": "minigrid", "BabyAI-": "minigrid"}


class LocalEnv(SteppedEnv):
    """gymnasium environments in this process, stepped one after the other when they are observed.

    Each environment has its own seed, so it does not depend on the others. Observations of MiniGrid are one-hot symbols. For
    POPGym tasks that need it, the previous action is appended to the observation (one-hot, zeros at the first step of an
    episode).

    Args:
        names: task of each environment, such as `CartPole-v1` or `module:Name-v0`.
        seeds: random seed of each environment.

    Raises:
        UserError: an id is unknown, actions are not discrete, or the environments differ in their EnvSpec.
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
        cut_off: dict[int, NDArray[Any]] = {}
        for row, task in enumerate(self._tasks):
            try:
                if self._actions is None:
                    frame.observation[row], frame.first[row] = task.reset(self._seeds[row]), True
                    continue
                frame.observation[row], frame.reward[row], frame.first[row], final = task.step(int(self._actions[row]))
                if final is not None:
                    cut_off[row] = final
            except _ERRORS as error:
                _report(error, row, task.name)
        if not cut_off:
            return frame
        finals = np.stack(list(cut_off.values())).astype(self.spec.observation_dtype)
        return frame._replace(truncation=Truncation(np.array(list(cut_off)), finals))

    def action_names(self) -> tuple[str, ...]:
        """Names of the actions, if the environment defines them, as MiniGrid and Atari do.

        Returns:
            A name for each action; () where there are none.
        """
        return _action_names(self._tasks[0].env.unwrapped, self.spec.num_actions)

    def correct_actions(self) -> tuple[int | None, ...]:
        """The correct actions, known in POPGym's RepeatFirst and RepeatPrevious.

        Returns:
            One for each environment; None where it is not known.
        """
        return tuple(_correct_action(task.env.unwrapped) for task in self._tasks)

    def _shut(self) -> None:
        failed = None
        for row, task in enumerate(self._tasks):
            try:
                task.env.close()
            except _ERRORS as error:
                failed = failed or (error, row, task.name)
        if failed is not None:
            _report(*failed)


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

    def step(self, action: int) -> tuple[NDArray[Any], float, bool, NDArray[Any] | None]:
        """Observation, reward, whether it is the first of an episode, and the final observation of one that was truncated."""
        seen, reward, terminated, truncated, _ = self.env.step(self._actions.decode(action))
        earned = _scalar("reward", reward)
        ended, cut_off = bool(_scalar("terminated", terminated)), bool(_scalar("truncated", truncated))
        if not (ended or cut_off):
            return self._encode(seen, action), earned, False, None
        final = None if ended else self._encode(seen, action).copy()  # `reset` may write into what `step` has returned
        return self.reset(), earned, True, final

    def _encode(self, seen: Any, action: int | None) -> NDArray[Any]:
        encoded = self._observations.encode(seen)
        if not self._with_action:
            return encoded
        return np.concatenate([encoded, np.arange(self._actions.count) == (-1 if action is None else action)])


def _scalar(name: str, value: Any) -> float:
    """The value as a float. Raises ValueError where it is not one real number."""
    found = np.asarray(value)
    if found.shape != () or found.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected a number, got {found.shape} {found.dtype}")
    return float(found)


def _action_names(env: Any, count: int) -> tuple[str, ...]:
    actions = getattr(env, "actions", None)
    if isinstance(actions, EnumType):
        names = [str(each.name) for each in cast(Any, actions)]
    elif callable(getattr(env, "get_action_meanings", None)):
        names = [str(name).lower() for name in env.get_action_meanings()]
    else:
        return ()
    return tuple(names) if len(names) == count else ()


def _correct_action(env: Any) -> int | None:
    if not type(env).__module__.startswith("popgym."):
        return None
    from popgym.envs.repeat_first import RepeatFirst
    from popgym.envs.repeat_previous import RepeatPrevious

    if isinstance(env, RepeatFirst):
        return int(env.get_state()[0])
    if isinstance(env, RepeatPrevious) and env.deck.hand_size("player") >= env.k:
        return int(env.get_state()[0][0])
    return None


def _package(name: str) -> str | None:
    return next((package for prefix, package in _PACKAGE_OF.items() if name.startswith(prefix)), None)


def _observations(env: gymnasium.Env[Any, Any], name: str) -> Observations:
    if _package(name) == "minigrid":
        return symbols_of(cast(Any, env.observation_space), name)
    return observations_of(env.observation_space, name)


def _make(name: str) -> gymnasium.Env[Any, Any]:
    package = _package(name)
    try:
        if package is not None:
            import_module(package)
        return gymnasium.make(name, disable_env_checker=True)
    except ModuleNotFoundError as error:
        raise UserError(f"{name}: {_missing(error, name, package)}") from error
    except gymnasium.error.Error as error:
        raise UserError(f"{name}: {error}") from error
    except _ERRORS as error:
        raise UserError(f"{name}: {type(error).__name__}: {error}") from error


def _missing(error: ModuleNotFoundError, name: str, package: str | None) -> str:
    """Why a task cannot be created: the missing module."""
    cause = error.__cause__  # gymnasium raises another error, without the module's name
    missing = error.name or (cause.name if isinstance(cause, ImportError) else None)
    module, _, own = name.rpartition(":")
    if missing is None:
        return str(error)
    if missing == package:
        return f"{missing} is not installed: pip install 'srwm[rl]'"
    if own and f"{module}.".startswith(f"{missing}."):
        return f"there is no module {missing}, neither in the working folder nor installed"
    return f"{missing}, which it imports, is not installed"


def _report(error: BaseException, row: int, name: str) -> NoReturn:
    trace = "".join(traceback.format_exception(error))
    raise EnvCrashError(f"environment {row} ({name}) failed:\n{trace}") from error
