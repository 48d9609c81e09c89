"""The control without self-modification."""

import torch
from torch import Tensor, nn

from srwm.nn.checks import head_dim
from srwm.nn.layer import Core
from srwm.nn.state import State


class FakeSRWM(Core):
    """The y columns of a self-referential matrix, never modified: y = out_linear(x W_y) per head ("Fake SR").

    There is no state: it is the empty tuple.

    Args:
        d_model: width of input and output.
        num_heads: number of heads.

    Raises:
        ValueError: num_heads does not divide d_model.
    """

    pre_norm = False

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__(d_model)
        self.num_heads = num_heads
        self.head_dim = head_dim(d_model, num_heads)
        self.weight = nn.Parameter(torch.empty(num_heads, self.head_dim, self.head_dim))
        self.out_linear = nn.Linear(d_model, d_model, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize W_y."""
        nn.init.normal_(self.weight, std=self.head_dim**-0.5)

    @property
    def state_shape(self) -> tuple[()]:
        """The empty tuple: there is no state."""
        return ()

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        return self._query(x, ()), ()

    def _query(self, x: Tensor, state: State) -> Tensor:
        x = x.reshape(*x.shape[:2], self.num_heads, self.head_dim)
        y = torch.einsum("bthe,hed->bthd", x, self.weight)
        out: Tensor = self.out_linear(y.flatten(2))
        return out
