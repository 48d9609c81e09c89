"""Rollouts: unrolls of an agent in its environments, acted when the learner needs them or one ahead while it learns."""

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
    """(B, T + 1), of the action before each frame"""
    firsts: Tensor
    """(B, T + 1) bool: an episode begins with this frame"""
    actions: Tensor
    """(B, T), at frames 0 to T - 1"""
    log_probs: Tensor
    """(B, T), of the actions by the acting policy"""
    values: Tensor
    """(B, T + 1), by the acting agent"""
    final_values: Tensor
    """(B, T), by the acting agent: of the final observation where step t ended in a truncation, 0 elsewhere"""
    state: State
    """of the core, before frame 0"""

    def select(self, which: Tensor | slice) -> "Unrolls":
        """Some of the B pieces."""
        return Unrolls(*index(self, which))

    def to(self, device: torch.device) -> "Unrolls":
        """The same on another device."""
        return Unrolls(*map_state(lambda part: part.to(device), self))

    @classmethod
    def join(cls, parts: "list[Unrolls]") -> "Unrolls":
        """One after the other along B."""
        return cls(*_join(parts))


class Actor:
    """Acts in B environments by an agent's policy and keeps the core's state from unroll to unroll."""

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
        """The next unroll, and the episodes that ended in it.

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
        """Raise NotFiniteError for what made an output of the agent NaN or infinite."""
        seen = [("observations", torch.from_numpy(frame.observation)), ("rewards", torch.from_numpy(frame.reward))]
        check_finite([*seen, *named_weights(self.agent), output])

    def get_state(self) -> dict[str, Any]:
        """What determines later unrolls, besides the agent, as tensors."""
        environments = self.env.get_state()
        return {
            "environments": None if environments is None else torch.frombuffer(bytearray(environments), dtype=torch.uint8),
            "core": self.state,
            "generator": self.generator.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`; environments without a state begin new episodes."""
        self.generator.set_state(state["generator"])
        if state["environments"] is not None:
            self.env.set_state(state["environments"].numpy().tobytes())
        self.frame = self.env.observe()
        self.state = map_state(lambda part: part.to(self.device), state["core"])


class UnrollQueue:
    """Unrolls that wait for the learner, first in, first out."""

    def __init__(self) -> None:
        self._unrolls: Unrolls | None = None

    def __len__(self) -> int:
        """Number of unrolls that wait."""
        return 0 if self._unrolls is None else len(self._unrolls.actions)

    def put(self, unrolls: Unrolls) -> None:
        """Append unrolls."""
        self._unrolls = Unrolls.join([self._unrolls, unrolls]) if self._unrolls is not None and len(self) else unrolls

    def take(self, count: int) -> Unrolls:
        """Remove the first `count` unrolls and return them.

        Raises:
            ValueError: fewer wait.
        """
        if self._unrolls is None or len(self) < count:
            raise ValueError(f"count: expected {len(self)} at most, got {count}")
        taken, self._unrolls = self._unrolls.select(slice(count)), self._unrolls.select(slice(count, None))
        return taken

    def get_state(self) -> tuple[Any, ...] | None:
        """A copy of all that waits, or None."""
        return tuple(map_state(Tensor.clone, self._unrolls)) if self._unrolls is not None and len(self) else None

    def set_state(self, state: tuple[Any, ...] | None, device: torch.device) -> None:
        """Continue from `get_state`, with the core's states on `device`, where those of later unrolls are."""
        self._unrolls = None
        if state is not None:
            unrolls = Unrolls(*state)
            self._unrolls = unrolls._replace(state=map_state(lambda part: part.to(device), unrolls.state))


class RolloutWorker:
    """Acts by an agent's policy and queues the unrolls for the learner. As a context manager it ends its thread.

    Args:
        agent: The agent that learns; its policy acts.
        env: The environments. The caller closes them.
        unroll_length: Steps of an unroll.
        generator: Draws the actions.
        overlap: Act on a thread of its own while the agent learns, with a copy of the weights from before that update. The
            acting policy then lags behind by one update, and results do not depend on timing. Otherwise acting and learning
            take turns.
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
        """The next `batch_size` unrolls, acted now where too few wait.

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
        """While the block runs, act the next unroll, if fewer than `batch_size` wait and acting may overlap with learning.

        Raises:
            NotFiniteError, EnvCrashError: from acting, after the block.
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
        """Number of steps made and episodes that ended since the last call."""
        steps, episodes = self.steps, self.episodes
        self.steps, self.episodes = 0, []
        return steps, episodes

    def get_state(self) -> dict[str, Any]:
        """What determines later unrolls, besides the agent, as tensors."""
        return {"actor": self.actor.get_state(), "queue": self.queue.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from `get_state`; environments without a state begin new episodes."""
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
    """PyTorch threads for acting while learning: half of the learner's. Single frames gain little from more."""
    return max(1, torch.get_num_threads() // 2)


def frame_tensors(frame: Frame, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A frame as the agent reads it: observations (B, 1, *observation_shape), rewards (B, 1), firsts (B, 1)."""
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
    """Set the number of PyTorch threads of the calling thread, and of threads that first ask for theirs later."""
    torch.get_num_threads()  # a thread that has asked keeps its number when another one sets a number
    torch.set_num_threads(count)
