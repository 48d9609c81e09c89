"""Returns and lengths of the episodes of B environments."""

import numpy as np
from numpy.typing import NDArray

from srwm.rl.envs.interface import Episode, Frame


class EpisodeLog:
    """Adds up the rewards of every environment's episode, frame by frame.

    `returns` (B,) float64 and `lengths` (B,) int64 are those of the episodes under way, `started` whether a frame was added.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.started = False
        self.returns: NDArray[np.float64] = np.zeros(len(names))
        self.lengths: NDArray[np.int64] = np.zeros(len(names), dtype=np.int64)
        self._ended: list[Episode] = []

    def add(self, frame: Frame) -> None:
        """Take in the next frame; the very first one ends no episode."""
        if self.started:
            self.returns += frame.reward
            self.lengths += 1
            for row in np.flatnonzero(frame.first):
                self._ended.append(Episode(self.names[row], float(self.returns[row]), int(self.lengths[row])))
                self.returns[row] = self.lengths[row] = 0
        self.started = True

    def take(self) -> list[Episode]:
        """The episodes that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended
