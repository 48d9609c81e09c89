"""Rollouts: an agent acts in its environments, either between updates or, one unroll ahead, during updates."""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from srwm.nn import State, index, map_state
from srwm.rl.agent import Agent
from srwm.rl.envs import Episode, Frame, Truncation, VectorEnv
from srwm.training.finite import check_finite, named_weights


class Unrolls(NamedTuple):
    """B unrolls of T steps: T + 1 frames, the last of which is the first of the next unroll."""

    observations: Tensor
    """(B, T + 1, *observation_shape)"""
    rewards: Tensor
    """(B, T + 1), reward of the action before each frame"""
    firsts: Tensor
    """(B, T + 1) bool, True: an episode begins with this frame"""
    actions: Tensor
    """(B, T) int64, actions at frames 0 to T - 1"""
    log_probs: Tensor
    """(B, T), log-probabilities of the actions under the acting policy"""
    values: Tensor
    """(B, T + 1), values of the frames by the acting agent"""
    final_values: Tensor
    """(B, T), values of the final observations by the acting agent where step t ended in a truncation, 0 elsewhere"""
    state: State
    """state of the core before frame 0"""

    def select(self, which: Tensor | slice) -> "Unrolls":
        """Some of the B unrolls.

        Args:
            which: indices of unrolls.

        Returns:
            Those unrolls, in this order.
        """
        return Unrolls(*index(self, which))

    def to(self, device: torch.device) -> "Unrolls":
        """The unrolls on another device.

        Args:
            device: the device.

        Returns:
            The unrolls there.
        """
        return Unrolls(*map_state(lambda part: part.to(device), self))

    @classmethod
    def join(cls, parts: "list[Unrolls]") -> "Unrolls":
        """Concatenate along B.

        Args:
            parts: unrolls of equal length.

        Returns:
            All of them, in order.
        """
        return cls(*_join(parts))


class Actor:
    """Acts in B environments with an agent's policy, and carries the core's state from unroll to unroll.

    Args:
        agent: the agent.
        env: the environments.
        unroll_length: steps per unroll.
        generator: source of the random actions.
    """

    def __init__(self, agent: Agent, env: VectorEnv, unroll_length: int, generator: torch.Generator) -> None:
        self.agent = agent
        self.env = env
        self.unroll_length = unroll_length
        self.generator = generator
        self.device = next(agent.parameters()).device
        self.frame = env.observe()
        self.state: State = agent.core.initial_state(env.num_envs)

    @torch.no_grad()
    def unroll(self) -> tuple[Unrolls, list[Episode]]:
        """Act for one unroll.

        Returns:
            The unroll, and the episodes that ended in it.

        Raises:
            NotFiniteError: an observation, a reward, a weight or a logit is NaN or infinite.
            EnvCrashError: an environment failed.
        """
        env, steps = self.env, self.unroll_length
        state, frame = self.state, self.frame
        observations = _observation_buffer(torch.from_numpy(frame.observation), steps + 1)
        rewards = _zeros(env.num_envs, steps + 1)
        firsts = _zeros(env.num_envs, steps + 1, dtype=torch.bool)
        actions = _zeros(env.num_envs, steps, dtype=torch.int64)
        log_probs = _zeros(env.num_envs, steps)
        values = _zeros(env.num_envs, steps + 1)
        final_values = _zeros(env.num_envs, steps)
        before = state
        for t in range(steps + 1):
            for kept, shown in zip((observations, rewards, firsts), frame.arrays, strict=True):
                kept[:, t] = torch.from_numpy(shown)
            logits, value, after = self.agent(*frame_tensors(frame, self.device), state)
            values[:, t] = value[:, 0]
            if t == steps:
                break
            state = after
            if not logits.isfinite().all():
                self._blame(frame, ("logits of the acting policy", logits))
            log_policy = logits[:, 0].float().log_softmax(-1).cpu()
            actions[:, t] = torch.multinomial(log_policy.exp(), 1, generator=self.generator)[:, 0]
            log_probs[:, t] = log_policy.gather(1, actions[:, t, None])[:, 0]
            env.act(actions[:, t].numpy())
            frame = env.observe()
            if frame.truncation is not None:
                final_values[torch.from_numpy(frame.truncation.rows), t] = self._values_at(frame.truncation, frame, state)
        self.state, self.frame = state, frame
        return Unrolls(observations, rewards, firsts, actions, log_probs, values, final_values, before), env.episodes()

    def _values_at(self, truncation: Truncation, frame: Frame, state: State) -> Tensor:
        """Values (N,) of the final observations, from the states before the reset."""
        rows = truncation.rows
        final = Frame(truncation.observation, frame.reward[rows], np.zeros(len(rows), np.bool_))
        _, values, _ = self.agent(*frame_tensors(final, self.device), index(state, torch.from_numpy(rows).to(self.device)))
        if not values.isfinite().all():
            self._blame(final, ("values of the acting agent", values))
        found: Tensor = values[:, 0].cpu()
        return found

    def _blame(self, frame: Frame, output: tuple[str, Tensor]) -> None:
        """Raise NotFiniteError for the input or weight that made an output of the agent NaN or infinite."""
        seen = [("observations", torch.from_numpy(frame.observation)), ("rewards", torch.from_numpy(frame.reward))]
        check_finite([*seen, *named_weights(self.agent), output])

    def get_state(self) -> dict[str, Any]:
        """Everything that determines later unrolls, except the agent, as tensors.

        Returns:
            The state for `set_state`.
        """
        environments = self.env.get_state()
        return {
            "environments": None if environments is None else torch.frombuffer(bytearray(environments), dtype=torch.uint8),
            "core": self.state,
            "generator": self.generator.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a `get_state`. Environments that do not expose their state begin new episodes.

        Args:
            state: what `get_state` returned.
        """
        self.generator.set_state(state["generator"])
        if state["environments"] is not None:
            self.env.set_state(state["environments"].numpy().tobytes())
        self.frame = self.env.observe()
        self.state = map_state(lambda part: part.to(self.device), state["core"])


class UnrollQueue:
    """A first-in, first-out queue of unrolls for the learner."""

    def __init__(self) -> None:
        self._unrolls: Unrolls | None = None

    def __len__(self) -> int:
        """Number of unrolls in the queue."""
        return 0 if self._unrolls is None else len(self._unrolls.actions)

    def put(self, unrolls: Unrolls) -> None:
        """Append unrolls.

        Args:
            unrolls: the unrolls.
        """
        self._unrolls = Unrolls.join([self._unrolls, unrolls]) if self._unrolls is not None and len(self) else unrolls

    def take(self, count: int) -> Unrolls:
        """Remove unrolls from the front of the queue.

        Args:
            count: number of unrolls.

        Returns:
            The unrolls.

        Raises:
            ValueError: the queue has fewer.
        """
        if self._unrolls is None or len(self) < count:
            raise ValueError(f"count: expected {len(self)} at most, got {count}")
        taken, self._unrolls = self._unrolls.select(slice(count)), self._unrolls.select(slice(count, None))
        return taken

    def get_state(self) -> tuple[Any, ...] | None:
        """A copy of the queue's content, or None if it is empty.

        Returns:
            The copy, for `set_state`.
        """
        return tuple(map_state(Tensor.clone, self._unrolls)) if self._unrolls is not None and len(self) else None

    def set_state(self, state: tuple[Any, ...] | None, device: torch.device) -> None:
        """Continue from a `get_state`.

        Args:
            state: what it returned.
            device: the device of the core's states.
        """
        self._unrolls = None
        if state is not None:
            unrolls = Unrolls(*state)
            self._unrolls = unrolls._replace(state=map_state(lambda part: part.to(device), unrolls.state))


class RolloutWorker:
    """Acts with an agent's policy and queues the unrolls for the learner. As a context manager, it ends its thread.

    Args:
        agent: the agent, which acts and learns.
        env: the environments; the caller closes them.
        unroll_length: steps per unroll.
        generator: source of the random actions.
        overlap: act on a separate thread while the agent learns, with a copy of the weights from before the update. The acting
            policy is then one update old, and results do not depend on timing. Otherwise acting and learning alternate.
    """

    def __init__(self, agent: Agent, env: VectorEnv, unroll_length: int, generator: torch.Generator, *, overlap: bool) -> None:
        self.agent = agent
        self.actor = Actor(copy.deepcopy(agent) if overlap else agent, env, unroll_length, generator)
        self.queue = UnrollQueue()
        self.steps = 0
        self.episodes: list[Episode] = []
        self._thread: ThreadPoolExecutor | None = None
        if overlap:
            threads = torch.get_num_threads()
            self._thread = ThreadPoolExecutor(1, "acting")
            self._thread.submit(_set_own_threads, acting_threads()).result()
            torch.set_num_threads(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def take(self, batch_size: int) -> Unrolls:
        """The next unrolls from the queue. If there are too few, the agent acts first.

        Args:
            batch_size: number of unrolls.

        Returns:
            The unrolls.

        Raises:
            NotFiniteError: an observation, a reward, a weight or a logit is NaN or infinite.
            EnvCrashError: an environment failed.
        """
        while len(self.queue) < batch_size:
            self._copy_weights()
            self._put(*self.actor.unroll())
        return self.queue.take(batch_size)

    @contextmanager
    def prefetch(self, batch_size: int) -> Iterator[None]:
        """A context during which the next unroll is acted, if `overlap` is set and the queue has fewer than `batch_size`
        unrolls.

        Args:
            batch_size: number of unrolls of the next update.

        Returns:
            The context.

        Raises:
            NotFiniteError: from acting; raised at the end of the context.
            EnvCrashError: from acting; raised at the end of the context.
        """
        if self._thread is None or len(self.queue) >= batch_size:
            yield
            return
        self._copy_weights()
        unroll = self._thread.submit(self.actor.unroll)
        try:
            yield
        finally:
            wait([unroll])
        self._put(*unroll.result())

    def pop_stats(self) -> tuple[int, list[Episode]]:
        """Number of environment steps, and the episodes that ended, since the last call.

        Returns:
            The number and the episodes.
        """
        steps, episodes = self.steps, self.episodes
        self.steps, self.episodes = 0, []
        return steps, episodes

    def get_state(self) -> dict[str, Any]:
        """Everything that determines later unrolls, except the agent, as tensors.

        Returns:
            The state for `set_state`.
        """
        return {"actor": self.actor.get_state(), "queue": self.queue.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a `get_state`. Environments that do not expose their state begin new episodes.

        Args:
            state: what `get_state` returned.
        """
        self.actor.set_state(state["actor"])
        self.queue.set_state(state["queue"], self.actor.device)

    def _copy_weights(self) -> None:
        if self.actor.agent is not self.agent:
            self.actor.agent.load_state_dict(self.agent.state_dict())
        self.actor.agent.eval()

    def _put(self, unrolls: Unrolls, episodes: list[Episode]) -> None:
        self.queue.put(unrolls)
        self.steps += unrolls.actions.numel()
        self.episodes += episodes


def acting_threads() -> int:
    """Number of PyTorch threads for acting while learning: half of the learner's, since more threads hardly help.

    Returns:
        The number, 1 or more.
    """
    return max(1, torch.get_num_threads() // 2)


def frame_tensors(frame: Frame, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A frame as inputs of the agent.

    Args:
        frame: the frame of B environments.
        device: the device of the tensors.

    Returns:
        Observations (B, 1, *observation_shape), rewards (B, 1) and firsts (B, 1).
    """
    observations, rewards, firsts = (torch.from_numpy(part)[:, None].to(device) for part in frame.arrays)
    return observations, rewards, firsts


def _observation_buffer(shown: Tensor, frames: int) -> Tensor:
    """Zeros (B, frames, *observation_shape), channels last in memory where observations are."""
    size = (len(shown), frames, *shown.shape[1:])
    if shown.dim() == 4 and shown.is_contiguous(memory_format=torch.channels_last):
        order = (0, 1, 3, 4, 2)
        return _zeros(*(size[axis] for axis in order), dtype=shown.dtype).permute(0, 1, 4, 2, 3)
    return _zeros(*size, dtype=shown.dtype)


def _zeros(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Where unrolls are collected, whatever PyTorch's defaults are."""
    return torch.zeros(size, dtype=dtype, device="cpu")


def _join(parts: Any) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(_join(group) for group in zip(*parts, strict=True))


def _set_own_threads(count: int) -> None:
    """Set the number of PyTorch threads for the calling thread, and for threads that use PyTorch for the first time later."""
    torch.get_num_threads()  # fixes the number of this thread, so that a call in another thread does not change it
    torch.set_num_threads(count)
