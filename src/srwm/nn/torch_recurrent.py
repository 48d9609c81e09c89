"""Recurrent layers of PyTorch with the interface of a core."""

from abc import abstractmethod
from itertools import pairwise

import torch
from torch import Tensor

from srwm.nn.layer import Core
from srwm.nn.state import State, map_state, reset


class TorchRecurrent(Core):
    """Base class of cores that call a recurrent layer of PyTorch.

    The sequence is split at resets and at changes of the mask, and each piece is one call. The split depends on values, so
    `torch.compile(fullgraph=True)` is not supported.

    Args:
        d_model: width of the output.
        d_input: width of the input; None is d_model.
    """

    resizes = True

    @abstractmethod
    def _piece(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run over a piece without resets and masked steps; the states keep their dtype."""

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
        y, _ = self._piece(x.flatten(0, 1)[:, None], map_state(lambda part: part.repeat_interleave(queries, dim=0), state))
        return y.view(batch, queries, self.d_model)


def _cuts(steps: int, resets: Tensor | None, mask: Tensor | None) -> list[int]:
    """The steps at which a piece begins, and `steps`: where any batch element is reset or its mask changes."""
    begins = torch.zeros(steps, dtype=torch.bool, device="cpu")
    begins[:1] = True
    if resets is not None:
        begins |= resets.any(0).cpu()
    if mask is not None:
        begins[1:] |= (mask[:, 1:] != mask[:, :-1]).any(0).cpu()
    return [*begins.nonzero().flatten().tolist(), steps]


def _choose(real: Tensor, after: State, before: State) -> State:
    if isinstance(after, Tensor):
        return torch.where(real, after, before)
    return tuple(_choose(real, new, old) for new, old in zip(after, before, strict=True))
