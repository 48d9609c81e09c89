"""Several vector environments as one, row after row in turn."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srwm.rl.envs.checks import checked_actions, common_spec
from srwm.rl.envs.interface import Episode, Frame, VectorEnv
from srwm.rl.envs.state import pack, unpack


class RoundRobin(VectorEnv):
    """K vector environments of equal spec: the k-th owns rows k, k + K, k + 2K, ... All step, then all are observed.

    Raises UserError where the specs differ, ValueError where the numbers of rows do not go round.
    """

    def __init__(self, parts: Sequence[VectorEnv]) -> None:
        self.parts = tuple(parts)
        self.spec = common_spec([(part.names[0], part.spec) for part in parts])
        self.num_envs = sum(part.num_envs for part in parts)
        rows = [range(self.num_envs)[k :: len(parts)] for k in range(len(parts))]
        for part, own in zip(parts, rows, strict=True):
            if part.num_envs != len(own):
                raise ValueError(f"parts: expected {len(own)} environments of {part.names[0]}, got {part.num_envs}")
        self.names = tuple(parts[row % len(parts)].names[row // len(parts)] for row in range(self.num_envs))

    def observe(self) -> Frame:
        """The frames of all, in the layout in memory that the first one's images have."""
        frames = [part.observe() for part in self.parts]
        whole = Frame(*(np.empty_like(field, shape=(self.num_envs, *field.shape[1:])) for field in frames[0]))
        for k, frame in enumerate(frames):
            for field, own in zip(whole, frame, strict=True):
                field[k :: len(frames)] = own
        return whole

    def act(self, actions: NDArray[np.int64] | Sequence[int]) -> None:
        """Start a step of all."""
        checked = checked_actions(actions, self.num_envs, self.spec.num_actions)
        for k, part in enumerate(self.parts):
            part.act(checked[k :: len(self.parts)])

    def episodes(self) -> list[Episode]:
        """The episodes that have ended since the last call, part after part."""
        return [episode for part in self.parts for episode in part.episodes()]

    def get_state(self) -> bytes | None:
        """The states of all, or None where one has none."""
        states = [part.get_state() for part in self.parts]
        if any(state is None for state in states):
            return None
        return pack({str(k): np.frombuffer(state or b"", np.uint8) for k, state in enumerate(states)})

    def set_state(self, state: bytes) -> None:
        """Continue all from a `get_state`."""
        states = unpack(state)
        if set(states) != {str(k) for k in range(len(self.parts))}:
            raise ValueError(f"state: expected that of {len(self.parts)} parts, got {len(states)}")
        for k, part in enumerate(self.parts):
            part.set_state(states[str(k)].tobytes())

    def close(self) -> None:
        """Close all."""
        for part in self.parts:
            part.close()
