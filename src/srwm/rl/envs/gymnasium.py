"""gymnasium environments in this process, and the conversion of their observation and action spaces."""

import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import EnumType
from importlib import import_module
from typing import Any, Literal, NoReturn, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Frame, Truncation
from srwm.rl.envs.vector import SteppedEnv, common_spec

_PACKAGE_OF = {"popgym-": "popgym", "MiniGrid-": "minigrid", "BabyAI-": "minigrid"}
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Observations:
    """Observations of a space as arrays of one shape and dtype."""

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]
    encode: Callable[[Any], NDArray[Any]]


@dataclass(frozen=True)
class Actions:
    """The actions of a space by number, 0 ... count - 1."""

    count: int
    decode: Callable[[int], Any]


def observations_of(space: spaces.Space[Any], name: str) -> Observations:
    """The conversion of the observations of a space.

    uint8 images (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 channels become (C, H, W) uint8. All other observations become one
    float32 vector, in which discrete parts are one-hot. Of a Dict with an `image`, only the image is used.

    Args:
        space: the observation space.
        name: the task, for messages.

    Returns:
        Shape, dtype and conversion.

    Raises:
        UserError: the space has no fixed size.
    """
    if isinstance(space, spaces.Dict) and "image" in space.spaces:
        inner = observations_of(space["image"], name)
        return Observations(inner.shape, inner.dtype, lambda seen: inner.encode(seen["image"]))
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        image = _image(space)
        if image is not None:
            return image
    if not space.is_np_flattenable:
        raise UserError(f"{name}: observations of {space} have no fixed size")

    def flatten(seen: Any) -> NDArray[np.float32]:
        _check_observation(space, seen)
        return np.asarray(spaces.flatten(space, seen), dtype=np.float32)

    return Observations((spaces.flatdim(space),), "float32", flatten)


def actions_of(space: spaces.Space[Any], name: str) -> Actions:
    """The conversion of action numbers to actions of a space: Discrete, or MultiDiscrete by the number of the combination.

    Args:
        space: the action space.
        name: the task, for messages.

    Returns:
        Number of actions and conversion.

    Raises:
        UserError: it is another kind of space.
    """
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return Actions(int(space.n), lambda action: action + start)
    if isinstance(space, spaces.MultiDiscrete):
        choices, starts = space.nvec.ravel(), space.start.ravel()
        shape = space.nvec.shape
        return Actions(
            int(np.prod(choices)), lambda action: (np.array(np.unravel_index(action, choices)) + starts).reshape(shape)
        )
    raise UserError(f"{name}: actions must be discrete, got {space}")


def _image(space: spaces.Box) -> Observations | None:
    shape = space.shape
    if len(shape) == 2:
        return Observations((1, *shape), "uint8", lambda seen: _checked_image(space, seen)[None])
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return Observations((shape[2], *shape[:2]), "uint8", lambda seen: np.moveaxis(_checked_image(space, seen), 2, 0))
    if len(shape) == 3 and shape[0] in _CHANNELS:
        return Observations(shape, "uint8", lambda seen: _checked_image(space, seen))
    return None


def _checked_image(space: spaces.Box, seen: Any) -> NDArray[np.uint8]:
    """The image as uint8. Raises ValueError for another shape, or numbers that are no uint8."""
    _check_observation(space, seen)
    given = np.asarray(seen)
    with np.errstate(invalid="ignore"):
        image = given.astype(np.uint8, copy=False)
    if image is not given and (image != given).any():
        raise ValueError(f"observation: expected uint8 numbers, got {given.dtype} from {given.min()} to {given.max()}")
    return image


def _check_observation(space: spaces.Space[Any], seen: Any) -> None:
    """Raise ValueError if an observation does not have the shape of its space, or real numbers in its range."""
    if isinstance(space, spaces.Dict):
        for name, part in space.spaces.items():
            _check_observation(part, seen[name])
    elif isinstance(space, spaces.Tuple):
        for part, own in zip(space.spaces, seen, strict=True):
            _check_observation(part, own)
    elif isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        found = np.asarray(seen)
        if found.shape != space.shape or found.dtype.kind not in "biuf":
            raise ValueError(f"observation: expected {space.shape} {space.dtype}, got {found.shape} {found.dtype}")
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            count = space.n if isinstance(space, spaces.Discrete) else space.nvec
            if found.dtype.kind == "f" or ((found < space.start) | (found >= space.start + count)).any():
                raise ValueError(f"observation: expected one of {space}, got {seen}")


def _scalar(name: str, value: Any) -> float:
    """The value as a float. Raises ValueError where it is not one real number."""
    found = np.asarray(value)
    if found.shape != () or found.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected a number, got {found.shape} {found.dtype}")
    return float(found)


def symbols_of(space: spaces.Dict, name: str) -> Observations:
    """The conversion of MiniGrid observations.

    The `image` (H, W, 3) of objects, colors and states becomes a float32 vector: one-hot (H, W, number of symbols), flattened.
    The mission, a text, is not part of it; a warning says so if episodes differ in their missions.

    Args:
        space: the observation space.
        name: the task, for messages.

    Returns:
        Shape, dtype and conversion.
    """
    from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
    from minigrid.core.mission import MissionSpace

    image, mission = cast(spaces.Box, space["image"]), space["mission"]
    if isinstance(mission, MissionSpace) and mission.ordered_placeholders:
        warnings.warn(
            f"{name}: its episodes differ in their mission, a text that is not part of the agent's observation", stacklevel=2
        )
    sizes = [len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)]
    values = np.concatenate([np.arange(size) for size in sizes])
    channel = np.repeat(np.arange(3), sizes)

    def encode(seen: Any) -> NDArray[np.float32]:
        one_hot: NDArray[np.bool_] = _checked_image(image, seen["image"])[..., channel] == values
        return one_hot.astype(np.float32).ravel()

    return Observations((image.shape[0] * image.shape[1] * len(values),), "float32", encode)


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
            except (Exception, SystemExit) as error:
                _report(error, row, task.name)
        if not cut_off:
            return frame
        finals = np.stack(list(cut_off.values())).astype(self.spec.observation_dtype)
        return frame._replace(truncation=Truncation(np.array(list(cut_off)), finals))

    def action_names(self) -> tuple[str, ...]:
        """Names of the actions, if the environment defines them, as MiniGrid and Atari do."""
        return _action_names(self._tasks[0].env.unwrapped, self.spec.num_actions)

    def correct_actions(self) -> tuple[int | None, ...]:
        """The correct actions, known in POPGym's RepeatFirst and RepeatPrevious."""
        return tuple(_correct_action(task.env.unwrapped) for task in self._tasks)

    def _shut(self) -> None:
        failed = None
        for row, task in enumerate(self._tasks):
            try:
                task.env.close()
            except (Exception, SystemExit) as error:
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
    except (Exception, SystemExit) as error:  # an environment's own module or constructor may raise anything
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
