"""Fast weights that a slow network programs: what all have in common, and the additive rule."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm import ops
from srwm.nn.checks import head_dim
from srwm.nn.layer import Core
from srwm.nn.state import State
from srwm.ops.backend import check_backend


class FastWeights(Core):
    """Base class of layers whose slow network programs fast matrices (B, H, E, E).

    For `forward_with_queries`, reads that write nothing alternate with the steps in one longer sequence.

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        slow_width: width of the projections of a head.
        eps: added to the sum by which φ divides.
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, or there is no such backend.
    """

    queries_in_parallel = True

    def __init__(self, d_model: int, num_heads: int, slow_width: int, *, eps: float, backend: str) -> None:
        super().__init__(d_model)
        self.num_heads = num_heads
        self.head_dim = head_dim(d_model, num_heads)
        self.slow_width = slow_width
        self.eps = eps
        check_backend(backend)
        self.backend = backend
        self.slow_net = nn.Linear(d_model, num_heads * slow_width, bias=False)
        self.out_linear = nn.Linear(d_model, d_model, bias=False)

    @property
    def state_shape(self) -> torch.Size:
        """Shape of the fast matrices of one batch element: (H, E, E)."""
        return torch.Size((self.num_heads, self.head_dim, self.head_dim))

    def _slow(self, x: Tensor) -> Tensor:
        slow: Tensor = self.slow_net(x)
        slow = slow.to(torch.promote_types(slow.dtype, torch.float32))  # the recurrence computes in it
        return slow.view(*x.shape[:2], self.num_heads, self.slow_width)

    def _out(self, y: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.out_linear(y.flatten(2).to(x.dtype))
        return out

    def _phi(self, z: Tensor) -> Tensor:
        positive = F.elu(z.contiguous()) + 1  # elementwise operations are several times slower on a slice
        total = positive.sum(-1, keepdim=True) + self.eps
        return positive / total.clamp(min=torch.finfo(z.dtype).eps / 2)  # 0, not 0 / 0, where all of a head rounds to 0


class LinearTransformer(FastWeights):
    """Additive fast weights: W += v φ(k)^T, y = out_linear(W φ(q)) after the update; Katharopoulos et al. (2020).

    φ(z) = (elu(z) + 1) / (Σ + 1e-5), and no normalizer on the output. The state is W, (B, H, E, E).

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, or there is no such backend.
    """

    def __init__(self, d_model: int, num_heads: int, *, backend: str = "auto") -> None:
        super().__init__(d_model, num_heads, 3 * head_dim(d_model, num_heads), eps=1e-5, backend=backend)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self._slow(x).chunk(3, dim=-1)
        return self._phi(q), self._phi(k), v

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        y, fast = ops.linear_attention(*self._project(x), state, resets, mask, backend=self.backend)
        return self._out(y, x), fast

    def _run_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        q, k, v = self._project(x)
        own_q, own_k, own_v = self._project(queries)
        zeros = torch.zeros_like(own_v)
        y, fast = ops.linear_attention(
            alternate(own_q, q),
            alternate(own_k, k),
            alternate(zeros, v),
            state,
            mask=None if mask is None else alternate(torch.ones_like(mask), mask),
            backend=self.backend,
        )
        read, y = in_turn(y, 2)
        answers = read + (own_q * own_k).sum(-1, keepdim=True) * own_v
        return self._out(y, x), self._out(answers, x), fast

    def _query(self, x: Tensor, state: State) -> Tensor:
        return self._out(ops.linear_attention_query(*self._project(x), state), x)


def alternate(*parts: Tensor) -> Tensor:
    """Sequences of equal length step by step in turn.

    Args:
        *parts: n sequences (B, T, ...).

    Returns:
        One sequence (B, nT, ...).
    """
    return torch.stack(parts, dim=2).flatten(1, 2)


def in_turn(y: Tensor, number: int) -> tuple[Tensor, ...]:
    """The sequences that `alternate` joined.

    Args:
        y: one sequence (B, nT, H, D).
        number: their number n.

    Returns:
        n sequences (B, T, H, D).
    """
    return y.view(len(y), y.shape[1] // number, number, *y.shape[2:]).unbind(2)
