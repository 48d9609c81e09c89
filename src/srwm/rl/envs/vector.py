"""Vector environments: what those that step as one share, and several of them as one."""

import io
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Episode, Frame, Truncation, VectorEnv

_DIGEST = "digest"


class EpisodeLog:
    """Returns and lengths of every environment's episodes.

    `returns` (B,) float64 and `lengths` (B,) int64 are those of the episodes in progress; `started`: a frame was added.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.started = False
        self.returns: NDArray[np.float64] = np.zeros(len(names))
        self.lengths: NDArray[np.int64] = np.zeros(len(names), dtype=np.int64)
        self._ended: list[Episode] = []

    def add(self, frame: Frame) -> None:
        """Add the next frame; the very first one ends no episode."""
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


class SteppedEnv(VectorEnv):
    """A VectorEnv whose environments step as one: subclasses start a step, wait for its frame and shut down."""

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
        """The frame of the step in progress, or the last one again."""
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
        """None: the library does not expose it."""
        self.observe()
        return None

    def set_state(self, state: bytes) -> None:
        """Not possible.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"set_state: {', '.join(dict.fromkeys(self.names))} cannot continue from a state")

    def close(self) -> None:
        """Shut down; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._shut()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the environments are closed")


class RoundRobin(VectorEnv):
    """K vector environments as one: the k-th owns rows k, k + K, k + 2K, ... All step, then all are observed.

    Args:
        parts: The K vector environments, of equal spec.

    Raises:
        UserError: their specs differ.
        ValueError: their numbers of rows do not interleave.
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
        """The frames of all, with the memory layout of the first one's."""
        frames = [part.observe() for part in self.parts]
        whole = [np.empty_like(array, shape=(self.num_envs, *array.shape[1:])) for array in frames[0].arrays]
        for k, frame in enumerate(frames):
            for array, own in zip(whole, frame.arrays, strict=True):
                array[k :: len(frames)] = own
        observation, reward, first = whole
        return Frame(observation, reward, first, _interleave([frame.truncation for frame in frames]))

    def act(self, actions: NDArray[np.int64] | Sequence[int]) -> None:
        """Start a step of all."""
        checked = checked_actions(actions, self.num_envs, self.spec.num_actions)
        for k, part in enumerate(self.parts):
            part.act(checked[k :: len(self.parts)])

    def episodes(self) -> list[Episode]:
        """The episodes that have ended since the last call, part after part."""
        return [episode for part in self.parts for episode in part.episodes()]

    def action_names(self) -> tuple[str, ...]:
        """Those of the first one."""
        return self.parts[0].action_names()

    def right_actions(self) -> tuple[int | None, ...]:
        """Those of all."""
        actions = [part.right_actions() for part in self.parts]
        return tuple(actions[row % len(self.parts)][row // len(self.parts)] for row in range(self.num_envs))

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


def _interleave(parts: Sequence[Truncation | None]) -> Truncation | None:
    """Truncations of K parts that own every K-th row, as one."""
    found = [(part.rows * len(parts) + k, part.observation) for k, part in enumerate(parts) if part is not None]
    if not found:
        return None
    rows, observations = (np.concatenate(group) for group in zip(*found, strict=True))
    order = rows.argsort()
    return Truncation(rows[order], observations[order])


def checked_actions(actions: NDArray[np.int64] | Sequence[int], num_envs: int, num_actions: int) -> NDArray[np.int64]:
    """The actions as (num_envs,) int64.

    Raises:
        ValueError: shape, type or range is wrong.
    """
    array = np.asarray(actions)
    if array.shape != (num_envs,) or array.dtype.kind not in "iu":
        raise ValueError(f"actions: expected ({num_envs},) integers, got {array.shape} {array.dtype}")
    if ((array < 0) | (array >= num_actions)).any():
        raise ValueError(f"actions: expected 0 ... {num_actions - 1}, got {array.min()} ... {array.max()}")
    return array.astype(np.int64, copy=False)


def common_spec(specs: Sequence[tuple[str, EnvSpec]]) -> EnvSpec:
    """The EnvSpec that all the named ones share.

    Raises:
        UserError: two differ.
    """
    first_name, first = specs[0]
    for name, spec in specs:
        if spec != first:
            raise UserError(f"{first_name} and {name} cannot be learned together: {first} and {spec}")
    return first


def pack(arrays: dict[str, NDArray[Any]]) -> bytes:
    """The arrays as one archive, with a digest."""
    file = io.BytesIO()
    np.savez(file, **arrays, **{_DIGEST: _digest(arrays)})
    return file.getvalue()


def unpack(state: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of `pack`, read without executing anything.

    Raises:
        ValueError: the bytes are damaged, edited or something else.
    """
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as archive:
            arrays = dict(archive)
        if not np.array_equal(arrays.pop(_DIGEST), _digest(arrays)):
            raise ValueError("another digest")
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"state: expected what get_state returned, got {len(state)} other or damaged bytes") from error
    return arrays


def _digest(arrays: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    found = blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(found.digest(), np.uint8)
