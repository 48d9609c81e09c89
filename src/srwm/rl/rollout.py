"""Acting: unrolls of an agent in its environments."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from srwm.nn import State, index, map_state
from srwm.rl.agent import Agent
from srwm.rl.envs import Episode, Frame, VectorEnv
from srwm.training.finite import check_finite, named_weights


class Unrolls(NamedTuple):
    """B pieces of experience of T steps: T + 1 frames, the last of which is the first of the next piece.

    observations (B, T + 1, *observation_shape); rewards (B, T + 1), of the action before each frame; firsts (B, T + 1) bool;
    actions (B, T), of frame 0 to T - 1, and their log-probabilities when they were taken; values (B, T + 1), what the acting
    agent expected at each frame; state: the core's before frame 0.
    """

    observations: Tensor
    rewards: Tensor
    firsts: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    state: State

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
    """Acts in B environments by an agent's policy, and remembers the core's state from unroll to unroll."""

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
        """The next unroll, and the episodes that ended meanwhile. Raises NotFiniteError, EnvCrashError."""
        env, steps = self.env, self.unroll_length
        state, frame = self.state, self.frame
        observations = _empty_observations(torch.from_numpy(frame.observation), steps + 1)
        rewards = torch.empty(env.num_envs, steps + 1)
        firsts = torch.empty(env.num_envs, steps + 1, dtype=torch.bool)
        actions = torch.empty(env.num_envs, steps, dtype=torch.long)
        log_probs = torch.empty(env.num_envs, steps)
        values = torch.empty(env.num_envs, steps + 1)
        before = state
        for t in range(steps + 1):
            for kept, shown in zip((observations, rewards, firsts), frame, strict=True):
                kept[:, t] = torch.from_numpy(shown)
            logits, value, after = self.agent(*frame_tensors(frame, self.device), state)
            values[:, t] = value[:, 0]
            if t == steps:
                break
            state = after
            if not logits.isfinite().all():
                read = [(f"{name}s", torch.from_numpy(part)) for name, part in frame._asdict().items()]
                check_finite([*read, *named_weights(self.agent), ("logits of the acting policy", logits)])
            log_policy = logits[:, 0].float().log_softmax(-1).cpu()
            actions[:, t] = torch.multinomial(log_policy.exp(), 1, generator=self.generator)[:, 0]
            log_probs[:, t] = log_policy.gather(1, actions[:, t, None])[:, 0]
            env.act(actions[:, t].numpy())
            frame = env.observe()
        self.state, self.frame = state, frame
        return Unrolls(observations, rewards, firsts, actions, log_probs, values, before), env.episodes()

    def get_state(self) -> dict[str, Any]:
        """All that decides the unrolls to come, as tensors."""
        environments = self.env.get_state()
        return {
            "environments": None if environments is None else torch.frombuffer(bytearray(environments), dtype=torch.uint8),
            "core": self.state,
            "generator": self.generator.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a `get_state`; environments that cannot tell their state begin new episodes."""
        self.generator.set_state(state["generator"])
        if state["environments"] is not None:
            self.env.set_state(state["environments"].numpy().tobytes())
        self.frame = self.env.observe()
        self.state = map_state(lambda part: part.to(self.device), state["core"])


class Waiting:
    """Unrolls that have not been learned from yet, first come, first served."""

    def __init__(self) -> None:
        self._unrolls: Unrolls | None = None

    def __len__(self) -> int:
        """How many pieces wait."""
        return 0 if self._unrolls is None else len(self._unrolls.actions)

    def put(self, unrolls: Unrolls) -> None:
        """Append these pieces."""
        self._unrolls = Unrolls.join([self._unrolls, unrolls]) if self._unrolls is not None and len(self) else unrolls

    def take(self, count: int) -> Unrolls:
        """Remove the first pieces. Raises ValueError where there are fewer."""
        if self._unrolls is None or len(self) < count:
            raise ValueError(f"count: expected {len(self)} at most, got {count}")
        taken, self._unrolls = self._unrolls.select(slice(count)), self._unrolls.select(slice(count, None))
        return taken

    def get_state(self) -> tuple[Any, ...] | None:
        """All that waits, as tensors of their own."""
        return tuple(map_state(Tensor.clone, self._unrolls)) if self._unrolls is not None and len(self) else None

    def set_state(self, state: tuple[Any, ...] | None, device: torch.device) -> None:
        """Go on from a `get_state`, with the core's states where the unrolls to come have theirs: on `device`."""
        self._unrolls = None
        if state is not None:
            unrolls = Unrolls(*state)
            self._unrolls = unrolls._replace(state=map_state(lambda part: part.to(device), unrolls.state))


def frame_tensors(frame: Frame, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A frame as the agent reads it: observations (B, 1, *observation_shape), rewards (B, 1), firsts (B, 1)."""
    observations, rewards, firsts = (torch.from_numpy(part)[:, None].to(device) for part in frame)
    return observations, rewards, firsts


def _empty_observations(shown: Tensor, frames: int) -> Tensor:
    """Room for (B, frames, *observation_shape), in memory as one observation is: images of many channels-last ones."""
    size = (len(shown), frames, *shown.shape[1:])
    if shown.dim() == 4 and shown.is_contiguous(memory_format=torch.channels_last):
        order = (0, 1, 3, 4, 2)
        return torch.empty([size[axis] for axis in order], dtype=shown.dtype).permute(0, 1, 4, 2, 3)
    return torch.empty(size, dtype=shown.dtype)


def _join(parts: Any) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(_join(group) for group in zip(*parts, strict=True))
