import csv
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from srwm.nn import StackConfig
from srwm.rl.agent import AgentConfig
from srwm.rl.config import OptimizerConfig, TrainConfig
from srwm.rl.envs import EnvSpec, Episode, Frame, VectorEnv
from srwm.rl.train import WEIGHTS

STATE = ("generator", "symbol", "step", "reward", "first", "ended")


class Recall(VectorEnv):
    """One of `num_actions` symbols is shown at the first frame; the action at the last one earns 1 where it names it."""

    def __init__(self, num_envs: int = 4, length: int = 3, num_actions: int = 2, seed: int = 0, image: bool = False) -> None:
        self.num_envs = num_envs
        self.names = tuple("recall" if i % 2 else "again" for i in range(num_envs))
        shape = (3, 8, 8) if image else (num_actions + 1,)
        self.spec = EnvSpec(shape, "uint8" if image else "float32", num_actions)
        self.length = length
        self.generator = np.random.default_rng(seed)
        self.symbol = self.generator.integers(num_actions, size=num_envs)
        self.step = np.arange(num_envs) % length
        self.reward = np.zeros(num_envs, np.float32)
        self.first = np.ones(num_envs, bool)
        self.ended: list[Episode] = []

    def observe(self) -> Frame:
        rows = np.arange(self.num_envs)
        shown = np.zeros((self.num_envs, self.spec.num_actions + 1), np.float32)
        shown[rows, np.where(self.first, self.symbol, self.spec.num_actions)] = 1
        if self.spec.observation_dtype == "uint8":
            image = np.zeros((self.num_envs, *self.spec.observation_shape), np.uint8)
            image[:, 0, 0, : shown.shape[1]] = 255 * shown
            shown = image
        return Frame(shown, self.reward.copy(), self.first.copy())

    def act(self, actions: NDArray[np.int64] | Sequence[int]) -> None:
        self.step += 1
        done = self.step >= self.length
        self.reward = (done & (np.asarray(actions) == self.symbol)).astype(np.float32)
        self.ended += [Episode(self.names[i], float(self.reward[i]), self.length) for i in np.flatnonzero(done)]
        fresh = self.generator.integers(self.spec.num_actions, size=self.num_envs)
        self.symbol = np.where(done, fresh, self.symbol)
        self.step[done] = 0
        self.first = done

    def episodes(self) -> list[Episode]:
        ended, self.ended = self.ended, []
        return ended

    def get_state(self) -> bytes | None:
        return pickle.dumps({name: getattr(self, name) for name in STATE})

    def set_state(self, state: bytes) -> None:
        vars(self).update(pickle.loads(state))

    def close(self) -> None:
        pass


@pytest.fixture
def env() -> Recall:
    return Recall()


def small_config() -> TrainConfig:
    """A run of a second."""
    stack = StackConfig(d_model=8, num_heads=2, num_layers=2, ff_factor=2, residual="input")
    return TrainConfig(
        agent=AgentConfig(features=8, stack=stack),
        unroll_length=7,
        batch_size=6,
        optimizer=OptimizerConfig(lr=3e-3),
        frames=300,
        log_every=2,
    )


@pytest.fixture
def config() -> TrainConfig:
    return small_config()


@pytest.fixture
def outcome() -> Callable[[Path], tuple[bytes, list[dict[str, str]]]]:
    """Of a run folder, everything that two equal runs share: weights and metrics, times left out."""

    def of(folder: Path) -> tuple[bytes, list[dict[str, str]]]:
        times = ("minutes", "cpu_minutes", "frames_per_second")
        with (folder / "metrics.csv").open() as file:
            rows = [{k: v for k, v in row.items() if k not in times} for row in csv.DictReader(file)]
        return (folder / WEIGHTS).read_bytes(), rows

    return of
