"""The self-referential weight matrix as a layer."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from srwm import ops
from srwm.nn.checks import check_state, head_dim
from srwm.nn.layer import Core
from srwm.nn.state import State
from srwm.ops.backend import check_backend


class SelfReferential(Core):
    """Base class of layers with a self-referential weight matrix.

    `weight` is W_0, (H, E, D + 2E + 4), used as x @ W; its columns are [y | q | k | beta], drawn with standard deviation
    1/sqrt(E). E = d_model / num_heads is the width of a head, D the width of its y.

    Args:
        d_model: width of input and output.
        num_heads: number of heads H.
        input_softmax: apply a softmax per head to the input of the matrix, as the RL code of Irie et al. (2022) does.
        beta_init: mean of the initial beta columns.
        query_init_std: standard deviation of the initial query columns, in units of 1/sqrt(E).
        backend: backend of the operations: auto, reference or native.

    Raises:
        ValueError: num_heads does not divide d_model, or there is no such backend.
    """

    pre_norm = False

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        input_softmax: bool = False,
        beta_init: float = 0.0,
        query_init_std: float = 1.0,
        backend: str = "auto",
    ) -> None:
        super().__init__(d_model)
        self.num_heads = num_heads
        self.head_dim = head_dim(d_model, num_heads)
        self.d_out = self._d_out(self.head_dim)
        self.input_softmax = input_softmax
        self.beta_init = beta_init
        self.query_init_std = query_init_std
        check_backend(backend)
        self.backend = backend
        self.weight = nn.Parameter(torch.empty(num_heads, self.head_dim, self.d_out + 2 * self.head_dim + 4))
        self.out_linear = nn.Linear(d_model, d_model, bias=False)
        self.reset_parameters()

    @staticmethod
    @abstractmethod
    def _d_out(head_dim: int) -> int:
        """The width D of a head's y."""

    def reset_parameters(self) -> None:
        """Initialize W_0."""
        e = self.head_dim
        nn.init.normal_(self.weight, std=e**-0.5)
        with torch.no_grad():
            self.weight[..., self.d_out : self.d_out + e] *= self.query_init_std
            self.weight[..., -4:] += self.beta_init

    def weight_norm(self, state: State) -> Tensor:
        """Frobenius norm of W_t = W_0 + shift.

        Args:
            state: as `forward` returns it.

        Returns:
            (B, H).

        Raises:
            ValueError: the state does not fit.
        """
        shift = state[0] if isinstance(state, tuple) and state else state
        check_state(state, self.state_shape, len(shift) if isinstance(shift, Tensor) and shift.dim() else 1)
        norm: Tensor = torch.linalg.vector_norm(self.weight + shift, dim=(2, 3))
        return norm

    def _heads(self, x: Tensor) -> Tensor:
        x = x.reshape(*x.shape[:2], self.num_heads, self.head_dim)
        return x.softmax(-1) if self.input_softmax else x


class SRWM(SelfReferential):
    """Self-referential weight matrix, multi-head: y = out_linear(reads of the matrix); Irie et al. (2022), section 3.

    The state is the shift W_t - W_0, (B, H, E, 3E + 4). The update rule does not bound W. Over very long sequences W can grow
    by orders of magnitude (300 times in 100,000 random steps, and sometimes far more), so monitor `weight_norm` there.
    Arguments and errors are those of `SelfReferential`.
    """

    @staticmethod
    def _d_out(head_dim: int) -> int:
        return head_dim

    @property
    def state_shape(self) -> torch.Size:
        """Shape of the shift of one batch element: (H, E, 3E + 4)."""
        return self.weight.shape

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        y, shift = ops.srwm(self._heads(x), self.weight, state, resets, mask, backend=self.backend)
        return self.out_linear(y.flatten(2)), shift

    def _query(self, x: Tensor, state: State) -> Tensor:
        y: Tensor = self.out_linear(ops.srwm_query(self._heads(x), self.weight, state).flatten(2))
        return y
