"""What all environments that step as one share: the order of calls, the frame at hand, the log of episodes."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srwm.rl.envs.checks import checked_actions
from srwm.rl.envs.episode_log import EpisodeLog
from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Episode, Frame, VectorEnv


class SteppedEnv(VectorEnv):
    """A VectorEnv that is told how to start a step, to wait for its frame and to shut down."""

    def __init__(self, spec: EnvSpec, names: Sequence[str]) -> None:
        self.spec, self.num_envs, self.names = spec, len(names), tuple(names)
        self._log = EpisodeLog(self.names)
        self._frame: Frame | None = None
        self._failure: EnvCrashError | None = None
        self._closed = False

    @abstractmethod
    def _start(self, actions: NDArray[np.int64]) -> None: ...

    @abstractmethod
    def _wait(self) -> Frame: ...

    @abstractmethod
    def _shut(self) -> None: ...

    def observe(self) -> Frame:
        """The frame of the step under way, or the one at hand."""
        self._check_open()
        if self._failure is not None:
            raise self._failure
        if self._frame is None:
            try:
                self._frame = self._wait()
            except EnvCrashError as error:
                self._failure = error
                raise
            self._log.add(self._frame)
        return self._frame

    def act(self, actions: NDArray[np.int64] | Sequence[int]) -> None:
        """Start a step."""
        self._check_open()
        checked = checked_actions(actions, self.num_envs, self.spec.num_actions)
        if self._frame is None:
            raise RuntimeError("act: the frame before has not been observed")
        self._frame = None
        self._start(checked)

    def episodes(self) -> list[Episode]:
        """The episodes that have ended since the last call."""
        return self._log.take()

    def get_state(self) -> bytes | None:
        """None: the library cannot tell."""
        self.observe()
        return None

    def set_state(self, state: bytes) -> None:
        """Raises RuntimeError: the library cannot continue from a state."""
        raise RuntimeError(f"set_state: {', '.join(dict.fromkeys(self.names))} cannot continue from a state")

    def close(self) -> None:
        """Shut down; the second time nothing happens."""
        if not self._closed:
            self._closed = True
            self._shut()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the environments are closed")
