"""ProcGen: B environments of one game, stepped by the library's threads."""

import contextlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.ranges import HalfOpen
from srwm.rl.envs.interface import EnvSpec, Frame
from srwm.rl.envs.vector import SteppedEnv, pack, unpack
from srwm.training.configuration import NO_OUTCOME, check_values

GAMES = (
    *("bigfish", "bossfight", "caveflyer", "chaser", "climber", "coinrun", "dodgeball", "fruitbot"),
    *("heist", "jumper", "leaper", "maze", "miner", "ninja", "plunder", "starpilot"),
)
_GAMES_OF_MODE = {
    "easy": GAMES,
    "hard": GAMES,
    "extreme": ("chaser", "dodgeball", "leaper", "starpilot"),
    "memory": ("caveflyer", "dodgeball", "heist", "jumper", "maze", "miner"),
}
_HEAD, _END = 8, 4
"""Bytes of a game's state before its name, and of the mark at its end."""
_SPEC = EnvSpec(observation_shape=(3, 64, 64), observation_dtype="uint8", num_actions=15)


@dataclass(frozen=True)
class ProcgenConfig:
    """The levels of ProcGen games."""

    distribution_mode: Literal["easy", "hard", "extreme", "memory"] = "easy"
    """distribution of the levels; extreme and memory exist only for some games"""
    num_levels: Annotated[int, HalfOpen(0, 2**31)] = 200
    """number of training levels, drawn with equal probability; 0: all 2^31 - 1"""
    start_level: Annotated[int, HalfOpen(0, 2**31)] = 0
    """number of the first level; unused if num_levels is 0"""
    threads: Annotated[int, HalfOpen(1, 2**31)] = field(default=1, metadata=NO_OUTCOME)
    """number of threads that step the environments of one game; all games are stepped at the same time"""


class ProcgenEnv(SteppedEnv):
    """B environments of one ProcGen game. Observations are (B, 3, 64, 64) uint8, channels last in memory; states are exact.

    The library does not distinguish time limits from other ends of episodes, so frames have no truncation.

    Args:
        game: one of `GAMES`.
        num_envs: number of environments B.
        config: the levels.
        seed: random seed of the order of levels.

    Raises:
        UserError: the package is not installed, or the game or its levels do not exist.
    """

    def __init__(self, game: str, num_envs: int, config: ProcgenConfig, seed: int) -> None:
        _check(game, num_envs, config)
        super().__init__(_SPEC, [game] * num_envs)
        self._identity = json.dumps({"game": game, "num_envs": num_envs, **asdict(replace(config, threads=1))})
        self._library = _load_library(game, num_envs, config, seed)

    def _start(self, actions: NDArray[np.int64]) -> None:
        self._library.act(actions.astype(np.int32))

    def _wait(self) -> Frame:
        image, reward, first = self._library.observe()
        return Frame(_channels_first(image), reward, first)

    def _shut(self) -> None:
        self._library.close()

    def action_names(self) -> tuple[str, ...]:
        """The keys that each action presses.

        Returns:
            A name for each action.
        """
        return tuple("+".join(keys).lower() or "nothing" for keys in self._library.combos)

    def get_state(self) -> bytes:
        """The exact state of every environment, and the returns and lengths of the episodes in progress.

        Returns:
            The state for `set_state`.
        """
        frame, states = self.observe(), self._library.get_state()
        return pack(
            {
                "identity": np.array(self._identity),
                "sizes": np.array([len(state) for state in states], dtype=np.int64),
                "games": np.frombuffer(b"".join(states), dtype=np.uint8),
                "reward": frame.reward,
                "first": frame.first,
                "returns": self._log.returns,
                "lengths": self._log.lengths,
            }
        )

    def set_state(self, state: bytes) -> None:
        """Continue from a `get_state`.

        Args:
            state: what it returned.

        Raises:
            ValueError: it is of another game, other levels or another number of environments, or was edited.
        """
        saved = unpack(state)
        if "identity" not in saved or str(saved["identity"]) != self._identity:
            raise ValueError(f"state: expected a state of {self._identity}, got one of {saved.get('identity', 'another kind')}")
        self.observe()
        self._library.set_state(self._games(saved))
        self._log.returns, self._log.lengths = saved["returns"], saved["lengths"]
        self._frame = Frame(_channels_first(self._library.image()), saved["reward"], saved["first"])

    def _games(self, saved: dict[str, NDArray[Any]]) -> list[bytes]:
        """The library's state of each environment, checked first, since the library aborts the process on an invalid one."""
        own = self._library.get_state()[0]
        head, end = own[: _HEAD + len(self.names[0])], own[-_END:]
        size = self.num_envs
        kinds = {"sizes": "int64", "reward": "float32", "first": "bool", "returns": "float64", "lengths": "int64"}
        fits = all(name in saved and saved[name].shape == (size,) and saved[name].dtype == kind for name, kind in kinds.items())
        if fits and (saved["sizes"] > 0).all() and saved["sizes"].sum() == saved.get("games", np.empty(0)).size:
            games = [part.tobytes() for part in np.split(saved["games"], np.cumsum(saved["sizes"])[:-1])]
            if all(game.startswith(head) and game.endswith(end) for game in games):
                return games
        raise ValueError(f"state: expected the states of {size} environments of {self.names[0]}, got others or edited ones")


def _channels_first(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image.transpose(0, 3, 1, 2)


def _check(game: str, num_envs: int, config: ProcgenConfig) -> None:
    check_values(config)
    games = _GAMES_OF_MODE[config.distribution_mode]
    if game not in games:
        raise UserError(f"no ProcGen game {game!r} with {config.distribution_mode} levels, only {', '.join(games)}")
    if not 1 <= num_envs < 2**31:
        raise UserError(f"num_envs: expected {HalfOpen(1, 2**31)}, got {num_envs}")


class _Library(Protocol):
    """A ProcGen package; images are (B, 64, 64, 3). `observe` once after each `act`, and once before the first."""

    combos: Sequence[tuple[str, ...]]
    """keys of each action; empty where the package does not expose them"""

    def act(self, actions: NDArray[np.int32]) -> None: ...
    def observe(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]: ...
    def image(self) -> NDArray[np.uint8]: ...
    def get_state(self) -> list[bytes]: ...
    def set_state(self, states: list[bytes]) -> None: ...
    def close(self) -> None: ...


class _Gym3Library:
    """The package `procgen` (of `procgen-mirror`): its `act` returns at once."""

    def __init__(self, make: Callable[..., Any], num_envs: int, options: dict[str, Any]) -> None:
        self._env = make(num=num_envs, **options)
        self.act, self.close = self._env.act, self._env.close
        self.get_state, self.set_state = self._env.get_state, self._env.set_state
        self.combos = self._env.combos

    def observe(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
        reward, observation, first = self._env.observe()
        return observation["rgb"], reward, first

    def image(self) -> NDArray[np.uint8]:
        return self.observe()[0]


class _GymnasiumLibrary:
    """The package `procgen_gym`: its `step` waits, so a thread of its own calls it."""

    def __init__(self, make: Callable[..., Any], num_envs: int, options: dict[str, Any]) -> None:
        self._env = make(num_envs=num_envs, **options)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="procgen")
        self._step: Future[Any] | None = None
        self.get_state, self.set_state = self._env.get_state, self._env.set_state
        self.combos = getattr(self._env, "combos", ())

    def act(self, actions: NDArray[np.int32]) -> None:
        self._step = self._pool.submit(self._env.step, actions)

    def observe(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
        if self._step is None:
            return self.image(), np.zeros(self._env.num_envs, np.float32), np.ones(self._env.num_envs, np.bool_)
        image, reward, terminated, _, _ = self._step.result()
        return image, reward, terminated

    def image(self) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = self._env.reset()[0]
        return image

    def close(self) -> None:
        self._pool.shutdown()
        self._env.close()


def _load_library(game: str, num_envs: int, config: ProcgenConfig, seed: int) -> _Library:
    options = {
        "env_name": game,
        "distribution_mode": config.distribution_mode,
        "num_levels": config.num_levels,
        "start_level": config.start_level,
        "num_threads": config.threads,
        "rand_seed": int(np.random.SeedSequence(seed).generate_state(1)[0] % 2**31),
    }
    if find_spec("procgen"):
        return _Gym3Library(_import_quietly("procgen").ProcgenGym3Env, num_envs, options)
    if find_spec("procgen_gym"):
        return _GymnasiumLibrary(_import_quietly("procgen_gym").ProcgenVecEnv, num_envs, options)
    raise UserError("ProcGen is not installed: pip install 'srwm[procgen]'")


def _import_quietly(name: str) -> ModuleType:
    """Import without output: `procgen` imports the unmaintained gym, which prints a notice on stderr."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return import_module(name)
