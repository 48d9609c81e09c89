"""The GRU baseline with the interface of a core."""

import torch
from torch import Tensor, nn

from srwm.nn.state import State
from srwm.nn.torch_recurrent import TorchRecurrent


class GRU(TorchRecurrent):
    """One layer of `torch.nn.GRU`. The state is h, (B, d_model).

    Args:
        d_model: width of the output and of h.
        d_input: width of the input; None is d_model.
    """

    def __init__(self, d_model: int, d_input: int | None = None) -> None:
        super().__init__(d_model, d_input)
        self.gru = nn.GRU(self.d_input, d_model, batch_first=True)

    @property
    def state_shape(self) -> torch.Size:
        """Shape of h of one batch element: (d_model,)."""
        return torch.Size((self.d_model,))

    def _piece(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, after = self.gru(x, state[None].to(x.dtype))
        return y, after[0].to(state.dtype)
