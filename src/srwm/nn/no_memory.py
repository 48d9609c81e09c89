"""The core of a feed-forward baseline."""

from torch import Tensor

from srwm.nn.layer import Core
from srwm.nn.state import State


class NoMemory(Core):
    """No memory: y = x, and the state is the empty tuple.

    In a block without residual connection only the feed-forward sub-layer remains.

    Args:
        d_model: width of input and output.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)

    @property
    def state_shape(self) -> tuple[()]:
        """The empty tuple: there is no state."""
        return ()

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        return x.clone(), ()

    def _query(self, x: Tensor, state: State) -> Tensor:
        return x.clone()
