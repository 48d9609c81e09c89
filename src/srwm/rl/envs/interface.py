"""The interface of vector environments: B environments that step together."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EnvSpec:
    """Shapes of observations and actions, the same for all environments of a VectorEnv."""

    observation_shape: tuple[int, ...]
    """shape of one observation; images are (C, H, W)"""
    observation_dtype: Literal["uint8", "float32"]
    """uint8 for images with values of 0 to 255, float32 for all else"""
    num_actions: int
    """actions are 0 ... num_actions - 1"""


class Truncation(NamedTuple):
    """The N of B episodes that were truncated by a time limit in a step."""

    rows: NDArray[np.int64]
    """(N,), indices of their environments, ascending"""
    observation: NDArray[Any]
    """(N, *observation_shape): the final observation of each, before the reset"""


class Frame(NamedTuple):
    """Observations, rewards and episode starts of B environments after a step. The caller owns the arrays."""

    observation: NDArray[Any]
    """(B, *observation_shape)"""
    reward: NDArray[np.float32]
    """(B,), reward of the previous action; where `first` is True, the last reward of the previous episode (0 at the very first
    frame)"""
    first: NDArray[np.bool_]
    """(B,), True: an episode begins with this observation"""
    truncation: Truncation | None = None
    """the truncated episodes; None if there are none, or the library does not report them"""

    @property
    def arrays(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_]]:
        """Observation, reward and first: the inputs of an agent."""
        return self.observation, self.reward, self.first

    def select(self, rows: NDArray[np.int64]) -> "Frame":
        """The frame of some environments, without truncation.

        Args:
            rows: indices of the environments.

        Returns:
            The frame.
        """
        return Frame(self.observation[rows], self.reward[rows], self.first[rows])


@dataclass(frozen=True)
class Episode:
    """An episode that has ended."""

    task: str
    """task of its environment"""
    return_: float
    """sum of its rewards, neither clipped nor discounted"""
    length: int
    """number of its actions"""


class EnvCrashError(RuntimeError):
    """An environment raised an error or its process died; the message has the task and the traceback."""


class VectorEnv(ABC):
    """B environments that step together: `observe`, `act`, `observe`, `act`, ...

    When an episode ends, the environment begins the next one in the same step. As a context manager, it is closed at the end.
    """

    spec: EnvSpec
    num_envs: int
    names: tuple[str, ...]
    """task of each environment"""

    @abstractmethod
    def observe(self) -> Frame:
        """Wait for the step in progress and return its frame. Until the next `act`, further calls return the same frame.

        Returns:
            The frame.

        Raises:
            EnvCrashError: an environment failed.
        """

    @abstractmethod
    def act(self, actions: NDArray[np.int64] | Sequence[int]) -> None:
        """Start a step and return without waiting for it.

        Args:
            actions: (B,) int64, the action of each environment.

        Raises:
            ValueError: shape, type or range of the actions is wrong.
            RuntimeError: the previous step has not been observed.
        """

    @abstractmethod
    def episodes(self) -> list[Episode]:
        """The observed episodes that have ended since the last call.

        Returns:
            The episodes, in the order in which they ended.
        """

    @abstractmethod
    def get_state(self) -> bytes | None:
        """Everything that determines later frames, after the step in progress; None if the library does not expose it.

        Returns:
            The state for `set_state`, or None.
        """

    @abstractmethod
    def set_state(self, state: bytes) -> None:
        """Continue from the `get_state` of an environment with the same configuration.

        Args:
            state: what it returned.

        Raises:
            ValueError: the state is from another configuration, damaged or edited.
            RuntimeError: the library cannot continue from a state.
        """

    def action_names(self) -> tuple[str, ...]:
        """A name for each action; () if the library has no names.

        Returns:
            The names, or ().
        """
        return ()

    def correct_actions(self) -> tuple[int | None, ...]:
        """The correct action of each environment's task at this frame; None where the environment does not expose it.

        Returns:
            One for each environment, or None.
        """
        return (None,) * self.num_envs

    @abstractmethod
    def close(self) -> None:
        """Release processes and memory; a second call does nothing."""

    def __enter__(self) -> Self:
        """The environment itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close."""
        self.close()
