"""The LSTM baseline with the interface of a core."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from srwm.nn.state import State
from srwm.nn.torch_recurrent import TorchRecurrent


class LSTM(TorchRecurrent):
    """One layer of `torch.nn.LSTM`.

    The state is (h, c), each (B, d_model). Where oneDNN has no bfloat16 (or float16) LSTM for the CPU, and `torch.nn.LSTM`
    raises, the layer computes in float32; the dtype of y is the same as on other CPUs.

    Args:
        d_model: width of the output and of h and c.
        d_input: width of the input; None is d_model.
    """

    def __init__(self, d_model: int, d_input: int | None = None) -> None:
        super().__init__(d_model, d_input)
        self.lstm = nn.LSTM(self.d_input, d_model, batch_first=True)

    @property
    def state_shape(self) -> tuple[torch.Size, torch.Size]:
        """Shapes of h and c of one batch element: (d_model,) each."""
        return torch.Size((self.d_model,)), torch.Size((self.d_model,))

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
