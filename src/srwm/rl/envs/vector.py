"""Base class and composition of vector environments."""

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
    """Returns and lengths of the episodes of B environments.

    `returns` (B,) float64 and `lengths` (B,) int64 belong to the episodes in progress. `started` is True once a frame was
    added.

    Args:
        names: task of each environment.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.started = False
        self.returns: NDArray[np.float64] = np.zeros(len(names))
        self.lengths: NDArray[np.int64] = np.zeros(len(names), dtype=np.int64)
        self._ended: list[Episode] = []

    def add(self, frame: Frame) -> None:
        """Add the next frame. The very first frame ends no episode.

        Args:
            frame: the frame.
        """
        if self.started:
            self.returns += frame.reward
            self.lengths += 1
            for row in np.flatnonzero(frame.first):
                self._ended.append(Episode(self.names[row], float(self.returns[row]), int(self.lengths[row])))
                self.returns[row] = self.lengths[row] = 0
        self.started = True

    def take(self) -> list[Episode]:
        """The episodes that ended since the last call.

        Returns:
            The episodes, in the order in which they ended.
        """
        ended, self._ended = self._ended, []
        return ended


class SteppedEnv(VectorEnv):
    """Base class of a VectorEnv whose environments step together. Subclasses start a step, wait for its frame and shut down.

    Args:
        spec: shapes of observations and actions.
        names: task of each environment.
    """

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
        """The frame of the step in progress, or the last frame again.

        Returns:
            The frame.

        Raises:
            EnvCrashError: an environment failed.
        """
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
        """Start a step.

        Args:
            actions: (B,) int64.

        Raises:
            ValueError: shape, type or range of the actions is wrong.
            RuntimeError: the previous step has not been observed.
        """
        self._check_open()
        checked = checked_actions(actions, self.num_envs, self.spec.num_actions)
        if self._frame is None:
            raise RuntimeError("act: the previous frame has not been observed")
        self._frame = None
        self._start(checked)

    def episodes(self) -> list[Episode]:
        """The episodes that have ended since the last call.

        Returns:
            The episodes, in the order in which they ended.
        """
        return self._log.take()

    def get_state(self) -> bytes | None:
        """None: the library does not expose its state.

        Returns:
            None.
        """
        self.observe()
        return None

    def set_state(self, state: bytes) -> None:
        """Not supported.

        Args:
            state: a state.

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
    """K vector environments as one. The k-th has the rows k, k + K, k + 2K, ... All step at the same time.

    Args:
        parts: the K vector environments, of equal spec.

    Raises:
        UserError: their specs differ.
        ValueError: their numbers of environments do not interleave.
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
        """The frames of all parts as one, in the memory format of the first part.

        Returns:
            The frame.
        """
        frames = [part.observe() for part in self.parts]
        whole = [np.empty_like(array, shape=(self.num_envs, *array.shape[1:])) for array in frames[0].arrays]
        for k, frame in enumerate(frames):
            for array, own in zip(whole, frame.arrays, strict=True):
                array[k :: len(frames)] = own
        observation, reward, first = whole
        return Frame(observation, reward, first, _interleave([frame.truncation for frame in frames]))

    def act(self, actions: NDArray[np.int64] | Sequence[int]) -> None:
        """Start a step of all parts.

        Args:
            actions: an action for each environment, (num_envs,).

        Raises:
            ValueError: their number or a value is wrong.
        """
        checked = checked_actions(actions, self.num_envs, self.spec.num_actions)
        for k, part in enumerate(self.parts):
            part.act(checked[k :: len(self.parts)])

    def episodes(self) -> list[Episode]:
        """The episodes that have ended since the last call, in the order of the parts.

        Returns:
            The episodes.
        """
        return [episode for part in self.parts for episode in part.episodes()]

    def action_names(self) -> tuple[str, ...]:
        """The action names of the first part.

        Returns:
            The names, or ().
        """
        return self.parts[0].action_names()

    def correct_actions(self) -> tuple[int | None, ...]:
        """The correct actions of all environments.

        Returns:
            One for each environment, or None.
        """
        actions = [part.correct_actions() for part in self.parts]
        return tuple(actions[row % len(self.parts)][row // len(self.parts)] for row in range(self.num_envs))

    def get_state(self) -> bytes | None:
        """The states of all parts, or None if a part does not expose its state.

        Returns:
            The state for `set_state`, or None.
        """
        states = [part.get_state() for part in self.parts]
        if any(state is None for state in states):
            return None
        return pack({str(k): np.frombuffer(state or b"", np.uint8) for k, state in enumerate(states)})

    def set_state(self, state: bytes) -> None:
        """Continue all parts from a `get_state`.

        Args:
            state: what it returned.

        Raises:
            ValueError: it has another number of parts, or a part's state does not fit.
            RuntimeError: a library cannot continue from a state.
        """
        states = unpack(state)
        if set(states) != {str(k) for k in range(len(self.parts))}:
            raise ValueError(f"state: expected the states of {len(self.parts)} parts, got {len(states)}")
        for k, part in enumerate(self.parts):
            part.set_state(states[str(k)].tobytes())

    def close(self) -> None:
        """Close all parts."""
        for part in self.parts:
            part.close()


def _interleave(parts: Sequence[Truncation | None]) -> Truncation | None:
    """Combine the truncations of K parts, whose rows are interleaved."""
    found = [(part.rows * len(parts) + k, part.observation) for k, part in enumerate(parts) if part is not None]
    if not found:
        return None
    rows, observations = (np.concatenate(group) for group in zip(*found, strict=True))
    order = rows.argsort()
    return Truncation(rows[order], observations[order])


def checked_actions(actions: NDArray[np.int64] | Sequence[int], num_envs: int, num_actions: int) -> NDArray[np.int64]:
    """Check actions, and convert them to an array.

    Args:
        actions: (num_envs,) integers.
        num_envs: number of environments.
        num_actions: number of actions.

    Returns:
        (num_envs,) int64.

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
    """The EnvSpec that all environments share.

    Args:
        specs: task and spec of each environment.

    Returns:
        The spec.

    Raises:
        UserError: two specs differ.
    """
    first_name, first = specs[0]
    for name, spec in specs:
        if spec != first:
            raise UserError(f"{first_name} and {name} cannot be learned together: {first} and {spec}")
    return first


def pack(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Write arrays into one archive with a digest.

    Args:
        arrays: the arrays by name.

    Returns:
        The archive, for `unpack`.
    """
    file = io.BytesIO()
    np.savez(file, **arrays, **{_DIGEST: _digest(arrays)})
    return file.getvalue()


def unpack(state: bytes) -> dict[str, NDArray[Any]]:
    """Read the arrays of `pack`. Nothing in them is executed.

    Args:
        state: what `pack` returned.

    Returns:
        The arrays by name.

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
