"""Delta-rule fast weights whose slow network also reads the previous output (Recurrent Delta Net)."""

import torch
from torch import Tensor, nn

from srwm import ops
from srwm.nn.checks import head_dim
from srwm.nn.layer import Core
from srwm.nn.state import State
from srwm.ops.backend import check_backend


class RecurrentDelta(Core):
    """Recurrent Delta: z_t = slow_net(x_t) + R tanh(y_{t-1}) gives softmaxed q and k, v, and beta of a delta-rule memory.

    R is (H, E, 3E + 1), columns [q | k | v | beta]. The state is (fast (B, H, E, E), y_{t-1} (B, H, E), before tanh and
    out_linear); y is read after the update. It runs step by step, on any device. Irie et al. (2021), section 3.2.

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, or there is no such backend.
    """

    def __init__(self, d_model: int, num_heads: int, *, backend: str = "auto") -> None:
        super().__init__(d_model)
        self.num_heads = num_heads
        self.head_dim = head_dim(d_model, num_heads)
        check_backend(backend)
        self.backend = backend
        self.slow_width = 3 * self.head_dim + 1
        self.slow_net = nn.Linear(d_model, num_heads * self.slow_width, bias=False)
        self.recurrent = nn.Parameter(torch.empty(num_heads, self.head_dim, self.slow_width))
        self.out_linear = nn.Linear(d_model, d_model, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize R."""
        nn.init.normal_(self.recurrent, std=self.head_dim**-0.5)

    @property
    def state_shape(self) -> tuple[torch.Size, torch.Size]:
        """Shapes of the fast matrices and the previous output of one batch element: (H, E, E) and (H, E)."""
        return torch.Size((self.num_heads, self.head_dim, self.head_dim)), torch.Size((self.num_heads, self.head_dim))

    def _program(self, z: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        z = z + torch.einsum("bhe,hez->bhz", last.tanh().to(z.dtype), self.recurrent)[:, None]
        q, k, v, beta = z.split_with_sizes([self.head_dim] * 3 + [1], dim=-1)
        return q.softmax(-1), k.softmax(-1), v, beta.squeeze(-1).sigmoid()

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        fast, last = self.initial_state(len(x)) if state is None else state
        slow = self._slow(x)
        reads = []
        for t in range(x.shape[1]):
            reset = None if resets is None else resets[:, t : t + 1]
            real = None if mask is None else mask[:, t : t + 1]
            if reset is not None:
                last = last.masked_fill(reset[..., None], 0)
            read, fast = ops.delta_rule(*self._program(slow[:, t : t + 1], last), fast, reset, real, backend=self.backend)
            reads.append(read)
            latest = read[:, 0].to(last.dtype)
            last = latest if real is None else torch.where(real[..., None], latest, last)
        y = torch.cat(reads, dim=1).flatten(2) if reads else x
        return self.out_linear(y), (fast, last)

    def _query(self, x: Tensor, state: State) -> Tensor:
        fast, last = state
        y: Tensor = self.out_linear(ops.delta_rule_query(*self._program(self._slow(x), last), fast).flatten(2))
        return y

    def _slow(self, x: Tensor) -> Tensor:
        slow: Tensor = self.slow_net(x)
        return slow.view(*x.shape[:2], self.num_heads, self.slow_width)
