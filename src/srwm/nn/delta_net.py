"""Fast weights under the delta rule, without and with a decay."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm import ops
from srwm.nn.checks import head_dim
from srwm.nn.fast_weights import FastWeights, alternate, in_turn
from srwm.nn.state import State


class DeltaRule(FastWeights):
    """Base class of layers whose fast matrices are written by the delta rule.

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        slow_width: width of the projections of a head.
        eps: as in `DeltaNet`.
        feature_map: as in `DeltaNet`.
        beta_max: as in `DeltaNet`.
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, beta_max is out of range, or there is no such feature map or backend.
    """

    def __init__(
        self, d_model: int, num_heads: int, slow_width: int, *, eps: float, feature_map: str, beta_max: float, backend: str
    ) -> None:
        super().__init__(d_model, num_heads, slow_width, eps=eps, backend=backend)
        if feature_map not in ("elu", "l2"):
            raise ValueError(f"feature_map: expected elu or l2, got {feature_map!r}")
        if not 0 < beta_max <= 2:
            raise ValueError(f"beta_max: expected a number above 0 and up to 2, got {beta_max}")
        self.feature_map = feature_map
        self.beta_max = beta_max

    def _phi(self, z: Tensor) -> Tensor:
        return super()._phi(z) if self.feature_map == "elu" else F.normalize(F.silu(z.contiguous()), dim=-1)

    def _rates(self, logits: Tensor) -> Tensor:
        rates = logits.sigmoid()
        return rates if self.beta_max == 1 else self.beta_max * rates


class DeltaNet(DeltaRule):
    """Delta-rule fast weights: W += beta (v - W k) k^T, y = out_linear(W q) after the update; Schlag et al. (2021).

    q, k, v and beta = beta_max sigmoid(b) are projections of x; φ is applied to q and k. The state is W, (B, H, E, E).

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        eps: added to the sum by which φ divides: 0 in the few-shot code of Irie et al. (2022), 1e-5 in its RL code.
        feature_map: `elu`: φ(z) = (elu(z) + 1) / (Σ + eps). `l2`: φ(z) = silu(z) / norm, as in Yang et al. (2024).
        tied_init: q and k begin with the same projection, so that from the first step on an input reads what was written for
            inputs like it.
        beta_max: upper end of the range of beta. 1: what is stored for a key of norm 1 is kept or replaced. 2: it may also be
            reflected, the eigenvalue 1 - beta of a step being from -1 to 1, as in Grazzi et al. (2025); with `l2`.
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, beta_max is out of range, or there is no such feature map or backend.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        eps: float = 0.0,
        feature_map: str = "elu",
        tied_init: bool = False,
        beta_max: float = 1.0,
        backend: str = "auto",
    ) -> None:
        slow_width = 3 * head_dim(d_model, num_heads) + 1
        super().__init__(d_model, num_heads, slow_width, eps=eps, feature_map=feature_map, beta_max=beta_max, backend=backend)
        self.tied_init = tied_init
        if tied_init:
            rows = self.slow_net.weight.data.view(num_heads, self.slow_width, d_model)
            rows[:, : self.head_dim] = rows[:, self.head_dim : 2 * self.head_dim]

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v, beta = self._slow(x).split_with_sizes([self.head_dim] * 3 + [1], dim=-1)
        return self._phi(q), self._phi(k), v, self._rates(beta.squeeze(-1))

    def _decay(self, x: Tensor) -> Tensor | None:
        """The factors (B, T, H) of the state; None: it is kept."""
        return None

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        y, fast = ops.delta_rule(*self._project(x), state, resets, mask, decay=self._decay(x), backend=self.backend)
        return self._out(y, x), fast

    def _run_with_queries(
        self, x: Tensor, queries: Tensor, state: State | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        q, k, v, beta = self._project(x)
        own_q, own_k, own_v, own_beta = self._project(queries)
        decay, own_decay = self._decay(x), self._decay(queries)
        y, fast = ops.delta_rule(
            alternate(own_q, own_k, q),  # two reads, with q and with k of the query, then the step
            alternate(own_k, own_k, k),
            alternate(own_v, own_v, v),
            alternate(torch.zeros_like(beta), torch.zeros_like(beta), beta),
            state,
            mask=None if mask is None else alternate(torch.ones_like(mask), torch.ones_like(mask), mask),
            decay=None if decay is None else alternate(torch.ones_like(decay), torch.ones_like(decay), decay),
            backend=self.backend,
        )
        read, before, y = in_turn(y, 3)
        if own_decay is not None:
            read, before = own_decay[..., None] * read, own_decay[..., None] * before
        write = own_beta.to(read.dtype) * (own_q * own_k).sum(-1)
        answers = read + write[..., None] * (own_v - before)
        return self._out(y, x), self._out(answers, x), fast

    def _query(self, x: Tensor, state: State) -> Tensor:
        return self._out(ops.delta_rule_query(*self._project(x), state, decay=self._decay(x)), x)


class GatedDeltaNet(DeltaNet):
    """Delta rule with a decay: W *= a, W += beta (v - W k) k^T, y = out_linear(W q) after the update; Yang et al. (2025).

    a = sigmoid(z + decay_init) of each step and head, and z is an affine map of x. This is the recurrence alone, without the
    convolution and the output gate of that work. The state is W, (B, H, E, E).

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        eps: as in `DeltaNet`.
        feature_map: as in `DeltaNet`.
        tied_init: as in `DeltaNet`.
        beta_max: as in `DeltaNet`.
        decay_init: where the decay begins: 4 is 0.98 at z = 0.
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, beta_max is out of range, or there is no such feature map or backend.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        eps: float = 0.0,
        feature_map: str = "l2",
        tied_init: bool = False,
        beta_max: float = 1.0,
        decay_init: float = 4.0,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            d_model, num_heads, eps=eps, feature_map=feature_map, tied_init=tied_init, beta_max=beta_max, backend=backend
        )
        self.decay_init = decay_init
        self.decay_linear = nn.Linear(d_model, num_heads)

    def _decay(self, x: Tensor) -> Tensor:
        logits: Tensor = self.decay_linear(x)
        return (logits.to(torch.promote_types(logits.dtype, torch.float32)) + self.decay_init).sigmoid()
