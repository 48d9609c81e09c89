"""Fast weights that a product of several delta-rule writes changes at each step."""

import torch
from torch import Tensor

from srwm import ops
from srwm.nn.checks import check_whole, head_dim
from srwm.nn.delta_net import DeltaRule
from srwm.nn.state import State
from srwm.ops.dispatch import without_autocast


class DeltaProduct(DeltaRule):
    """Several delta-rule writes a step, then one read: a step multiplies W by a product of Householder-like factors.

    For i = 1 ... num_factors: W += beta_i (v_i - W k_i) k_i^T, then y = out_linear(W q). One factor is `DeltaNet` with the same
    feature map and range of beta. It is the same operation over a sequence num_factors times as long. The state is W,
    (B, H, E, E). Siems et al. (2025).

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        num_factors: number of writes a step.
        eps: as in `DeltaNet`.
        feature_map: as in `DeltaNet`.
        beta_max: as in `DeltaNet`.
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, num_factors is below 1, beta_max is out of range, or there is no such
            feature map or backend.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        num_factors: int = 2,
        eps: float = 0.0,
        feature_map: str = "l2",
        beta_max: float = 2.0,
        backend: str = "auto",
    ) -> None:
        check_whole(num_factors=num_factors)
        if num_factors < 1:
            raise ValueError(f"num_factors: expected 1 or more, got {num_factors}")
        e = head_dim(d_model, num_heads)
        slow_width = e + num_factors * (2 * e + 1)
        super().__init__(d_model, num_heads, slow_width, eps=eps, feature_map=feature_map, beta_max=beta_max, backend=backend)
        self.num_factors = num_factors

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q (B, T, H, E); of each factor k and v (B, T, n, H, E) and beta (B, T, n, H)."""
        n, e = self.num_factors, self.head_dim
        q, k, v, beta = self._slow(x).split_with_sizes([e, n * e, n * e, n], dim=-1)
        k, v = (z.reshape(*z.shape[:3], n, e).transpose(2, 3) for z in (k, v))
        return self._phi(q), self._phi(k), v, self._rates(beta.transpose(2, 3))

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        q, k, v, beta = self._project(x)
        first = torch.arange(self.num_factors, device=x.device) == 0
        resets = None if resets is None else (resets[..., None] & first).flatten(1)
        y, fast = self._expanded(_read_last(q, k), k, v, beta, state, resets, mask)
        return self._out(y[:, :, -1], x), fast

    def _run_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        q, k, v, beta = self._project(x)
        asked = self._project(queries)
        reads = torch.cat([asked[1], asked[0][:, :, None]], 2)  # they come before the writes of their step, and write nothing
        nothing, number = torch.zeros_like(reads), reads.shape[2]
        y, fast = self._expanded(
            torch.cat([reads, _read_last(q, k)], 2),
            torch.cat([nothing, k], 2),
            torch.cat([nothing, v], 2),
            torch.cat([nothing[..., 0], beta], 2),
            state,
            None,
            mask,
        )
        answers = _answers(*asked, y[:, :, :number])
        return self._out(y[:, :, -1], x), self._out(answers, x), fast

    def _expanded(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor,
        state: State | None,
        resets: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, State]:
        """The delta rule over several steps for each one: all that comes in and y are (B, T, steps, H, ...)."""
        batch, steps, number = q.shape[:3]
        mask = None if mask is None else mask.repeat_interleave(number, dim=1)
        q, k, v, beta = (part.flatten(1, 2) for part in (q, k, v, beta))
        y, fast = ops.delta_rule(q, k, v, beta, state, resets, mask, backend=self.backend)
        return y.view(batch, steps, number, *y.shape[2:]), fast

    def _query(self, x: Tensor, state: State) -> Tensor:
        q, k, v, beta = self._project(x)
        with without_autocast(x):
            reads = torch.einsum("bqnhe,bhed->bqnhd", torch.cat([k, q[:, :, None]], 2), state)
            answers = _answers(q, k, v, beta, reads)
        return self._out(answers, x)


def _read_last(q: Tensor, k: Tensor) -> Tensor:
    """What each factor reads: q after the last, nothing before."""
    return torch.cat([torch.zeros_like(k[:, :, 1:]), q[:, :, None]], 2)


def _answers(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, reads: Tensor) -> Tensor:
    """What q reads after all writes, from what each k and, last, q read before them: (B, Q, n + 1, H, E) -> (B, Q, H, E)."""
    *before, answer = reads.unbind(2)
    keys = k.unbind(2)
    writes: list[Tensor] = []
    for i, (key, stored) in enumerate(zip(keys, before, strict=True)):
        for other, write in zip(keys[:i], writes, strict=True):
            stored = stored + (key * other).sum(-1, keepdim=True) * write
        writes.append(beta[:, :, i, :, None] * (v[:, :, i] - stored))
        answer = answer + (q * key).sum(-1, keepdim=True) * writes[-1]
    return answer
