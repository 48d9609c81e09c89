"""The LSTM baseline behind the interface of a core."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from srwm.nn.layer import Core
from srwm.nn.state import State, reset


class LSTM(Core):
    """One layer of `torch.nn.LSTM`, run in one call between the steps at which resets or the mask change anything.

    The state is (h, c), each (B, d_model). Which pieces are run depends on the values of resets and mask, so
    `torch.compile(fullgraph=True)` does not apply.
    """

    resizes = True

    def __init__(self, d_model: int, d_input: int | None = None) -> None:
        super().__init__(d_model, d_input)
        self.lstm = nn.LSTM(self.d_input, d_model, batch_first=True)

    @property
    def state_shape(self) -> tuple[torch.Size, torch.Size]:
        """Shapes of h and c of one batch element: (d_model,) each."""
        return torch.Size((self.d_model,)), torch.Size((self.d_model,))

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        state = self.initial_state(len(x)) if state is None else state
        cuts = _cuts(x.shape[1], resets, mask)
        pieces = [x.new_zeros(len(x), 0, self.d_model)]
        for start, stop in pairwise(cuts):
            if resets is not None:
                state = reset(state, resets[:, start])
            y, after = self._piece(x[:, start:stop], state)
            pieces.append(y)
            state = after if mask is None else _choose(mask[:, start, None], after, state)
        return torch.cat(pieces, dim=1), state

    def _query(self, x: Tensor, state: State) -> Tensor:
        batch, queries, _ = x.shape
        h, c = state
        each = h.repeat_interleave(queries, dim=0), c.repeat_interleave(queries, dim=0)
        y, _ = self._piece(x.flatten(0, 1)[:, None], each)
        return y.view(batch, queries, self.d_model)

    def _piece(self, x: Tensor, state: State) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = state
        y, (h_after, c_after) = self.lstm(x, (h[None].to(x.dtype), c[None].to(x.dtype)))
        return y, (h_after[0].to(h.dtype), c_after[0].to(c.dtype))


def _cuts(steps: int, resets: Tensor | None, mask: Tensor | None) -> list[int]:
    """The steps at which a piece begins, and `steps`: where any batch element is reset or its mask changes."""
    begins = torch.zeros(steps, dtype=torch.bool, device="cpu")
    begins[:1] = True
    if resets is not None:
        begins |= resets.any(0).cpu()
    if mask is not None:
        begins[1:] |= (mask[:, 1:] != mask[:, :-1]).any(0).cpu()
    return [*begins.nonzero().flatten().tolist(), steps]


def _choose(real: Tensor, after: State, before: State) -> tuple[Tensor, Tensor]:
    (h, c), (h_before, c_before) = after, before
    return torch.where(real, h, h_before), torch.where(real, c, c_before)
