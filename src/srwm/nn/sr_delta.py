"""A delta-rule memory that a self-referential weight matrix programs."""

import torch
from torch import Tensor

from srwm import ops
from srwm.nn.srwm import SelfReferential
from srwm.nn.state import State


class SRDelta(SelfReferential):
    """SR-Delta: the y of a self-referential matrix is the [q, k, v, beta] of a delta-rule memory, softmax on q and k.

    The state is (shift (B, H, E, 5E + 5), fast (B, H, E, E)); y = out_linear(fast q) after the update. The self-referential
    matrix is not bounded: see `SRWM`. Arguments and errors are those of `SelfReferential`.
    """

    @staticmethod
    def _d_out(head_dim: int) -> int:
        return 3 * head_dim + 1

    @property
    def state_shape(self) -> tuple[torch.Size, torch.Size]:
        """Shapes of shift and fast matrices of one batch element: (H, E, 5E + 5) and (H, E, E)."""
        return self.weight.shape, torch.Size((self.num_heads, self.head_dim, self.head_dim))

    def _program(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v, beta = y.split_with_sizes([self.head_dim] * 3 + [1], dim=-1)
        return q.softmax(-1), k.softmax(-1), v, beta.squeeze(-1).sigmoid()

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        shift, fast = (None, None) if state is None else state
        y, shift = ops.srwm(self._heads(x), self.weight, shift, resets, mask, backend=self.backend)
        y, fast = ops.delta_rule(*self._program(y), fast, resets, mask, backend=self.backend)
        return self.out_linear(y.flatten(2)), (shift, fast)

    def _query(self, x: Tensor, state: State) -> Tensor:
        shift, fast = state
        program = self._program(ops.srwm_query(self._heads(x), self.weight, shift))
        y: Tensor = self.out_linear(ops.delta_rule_query(*program, fast).flatten(2))
        return y
