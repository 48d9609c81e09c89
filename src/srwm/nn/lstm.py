"""The LSTM baseline with the interface of a core."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from srwm.nn.layer import Core
from srwm.nn.state import State, reset


class LSTM(Core):
    """One layer of `torch.nn.LSTM`.

    The state is (h, c), each (B, d_model). The sequence is split at resets and at changes of the mask, and each piece is one
    call of `torch.nn.LSTM`. The split depends on values, so `torch.compile(fullgraph=True)` is not supported. Where oneDNN has
    no bfloat16 (or float16) LSTM for the CPU, and `torch.nn.LSTM` raises, the layer computes in float32; the dtype of y is the
    same as on other CPUs.

    Args:
        d_model: width of the output and of h and c.
        d_input: width of the input; None is d_model.
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
        dtype = _computing_dtype(x)
        if dtype in _NOT_IN_ONEDNN and x.device.type == "cpu":
            weights = {name: weight.float() for name, weight in self.lstm.named_parameters()}
            with torch.autocast("cpu", enabled=False):
                y, after = functional_call(self.lstm, weights, (x.float(), (h[None].float(), c[None].float())))
            y = y.to(dtype)
        else:
            y, after = self.lstm(x, (h[None].to(x.dtype), c[None].to(x.dtype)))
        return y, (after[0][0].to(h.dtype), after[1][0].to(c.dtype))


def _computing_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which `torch.nn.LSTM` computes: autocast's where it is on, else the dtype of x."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def _not_in_onednn() -> frozenset[torch.dtype]:
    """The half-precision dtypes that oneDNN's LSTM does not support on this CPU; empty in a build without oneDNN."""
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
    supported = {dtype: getattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported", None) for name, dtype in dtypes.items()}
    return frozenset(dtype for dtype, ask in supported.items() if ask is not None and not ask())


_NOT_IN_ONEDNN = _not_in_onednn()


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
