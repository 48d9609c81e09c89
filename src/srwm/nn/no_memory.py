"""The core of a feed-forward baseline."""

from typing import Self

from torch import Tensor

from srwm.nn.config import StackConfig
from srwm.nn.layer import Core
from srwm.nn.state import State


class NoMemory(Core):
    """No memory: y = x, and the state is the empty tuple. In a `plain` block it leaves the feed-forward sub-layer alone."""

    @classmethod
    def from_config(cls, config: StackConfig) -> Self:
        """The layer that the configuration describes."""
        return cls(config.d_model)

    @property
    def state_shape(self) -> tuple[()]:
        """No state."""
        return ()

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        return x.clone(), ()

    def _query(self, x: Tensor, state: State) -> Tensor:
        return x.clone()
