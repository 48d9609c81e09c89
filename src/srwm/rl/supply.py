"""Unrolls for the learner: acted when they are needed, or one ahead while it learns."""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch

from srwm.rl.agent import Agent
from srwm.rl.envs import Episode, VectorEnv
from srwm.rl.rollout import Actor, Unrolls, Waiting


def acting_threads() -> int:
    """Threads of PyTorch for acting beside learning: half of the learner's. Single frames gain little from more."""
    return max(1, torch.get_num_threads() // 2)


class Supply:
    """Acts by an agent's policy and keeps what has not been learned from yet. Used as a context manager it ends its thread.

    With `overlap` acting has a thread and weights of its own, those from before the update beside which it runs: so its policy
    lags behind by that update, and an outcome depends on no timing. Without, acting and learning take turns.
    """

    def __init__(self, agent: Agent, env: VectorEnv, unroll_length: int, generator: torch.Generator, *, overlap: bool) -> None:
        self.agent = agent
        self.actor = Actor(copy.deepcopy(agent) if overlap else agent, env, unroll_length, generator)
        self.waiting = Waiting()
        self.steps = 0
        self.episodes: list[Episode] = []
        self._thread: ThreadPoolExecutor | None = None
        if overlap:
            threads = torch.get_num_threads()
            self._thread = ThreadPoolExecutor(1, "acting")
            self._thread.submit(_set_own_threads, acting_threads()).result()
            torch.set_num_threads(threads)

    def __enter__(self) -> "Supply":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None:
            self._thread.shutdown()

    def take(self, count: int) -> Unrolls:
        """The next `count` pieces, acted now where too few wait. Raises NotFiniteError, EnvCrashError."""
        while len(self.waiting) < count:
            self._take_weights()
            self._put(*self.actor.unroll())
        return self.waiting.take(count)

    @contextmanager
    def ahead(self, count: int) -> Iterator[None]:
        """While the block runs, act an unroll if fewer than `count` pieces wait and the two may overlap.

        Raises NotFiniteError, EnvCrashError from acting, after the block.
        """
        if self._thread is None or len(self.waiting) >= count:
            yield
            return
        self._take_weights()
        unroll = self._thread.submit(self.actor.unroll)
        try:
            yield
        finally:
            wait([unroll])
        self._put(*unroll.result())

    def news(self) -> tuple[int, list[Episode]]:
        """The steps made and the episodes that ended since the last call."""
        steps, episodes = self.steps, self.episodes
        self.steps, self.episodes = 0, []
        return steps, episodes

    def get_state(self) -> dict[str, Any]:
        """All that decides the unrolls to come, beside the agent, as tensors."""
        return {"actor": self.actor.get_state(), "waiting": self.waiting.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a `get_state`; environments that cannot tell their state begin new episodes."""
        self.actor.set_state(state["actor"])
        self.waiting.set_state(state["waiting"], self.actor.device)

    def _take_weights(self) -> None:
        if self.actor.agent is not self.agent:
            self.actor.agent.load_state_dict(self.agent.state_dict())
        self.actor.agent.eval()

    def _put(self, unrolls: Unrolls, episodes: list[Episode]) -> None:
        self.waiting.put(unrolls)
        self.steps += unrolls.actions.numel()
        self.episodes += episodes


def _set_own_threads(count: int) -> None:
    """Set the calling thread's number of PyTorch's threads, and that of all threads that ask for the first time after this."""
    torch.get_num_threads()  # a thread that has asked keeps its number when another one sets a number
    torch.set_num_threads(count)
