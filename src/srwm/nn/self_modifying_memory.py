"""Memories that generate their own keys, values, learning rates and decays, and rewrite themselves by them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srwm.nn.checks import check_whole, head_dim
from srwm.nn.chunks import chunks_of
from srwm.nn.layer import Core
from srwm.nn.state import Shape, State, map_state
from srwm.ops.dispatch import without_autocast


class SelfModifyingMemory(Core):
    """Memories of output, keys, values, rates and decays, which rewrite themselves towards own targets; Behrouz et al. (2025).

    The layer of HOPE with linear memories and the L2 objective. The memories of a head are the blocks of columns [y | k | v |
    rate | decay] of one matrix W, (E, 3E + 2), whose initial value W_0 is trained. x is the head's part of the input, and q a
    static projection of all of it. A step reads, then writes into every block M of columns:

        y = q W_y,  k = x W_k,  v = x W_v,  rate = sigmoid(x W_rate + rate_init),  decay = sigmoid(x W_decay + decay_init)
        M <- decay M - rate k^T (k M) - rate k^T (k M - v M)

    where k and q are scaled to norm 1, and v M is the target that the memory makes for itself. In chunks of C > 1 steps, k, v,
    rate, decay and the targets are read from W at the start of the chunk. What is left is linear in W and is computed for all
    steps of a chunk at once; y is what q reads in W before its step. C = 1 is exact. Chunks are counted from the last reset on,
    and masked steps do not count.

    The state is the shift W - W_0, (B, H, E, 3E + 2). With C > 1 it is a tuple: this shift, that at the start of the unfinished
    chunk, and the number of steps in it, (B,). The update rule does not bound W. The memory of the output has no static form:
    the layer would then remember nothing, as `FakeSRWM`.

    Args:
        d_model: width of input and output.
        num_heads: number of heads H; E = d_model / H is the width of a head.
        chunk_size: number C of steps in a chunk.
        normalize_values: whether v is scaled to norm 1, too, which is not part of the published layer. Without it, targets grow
            with the memory of values that makes them, and W overflows within few hundred steps or less.
        static_keys: ablation: the memory of keys keeps its initial value.
        static_values: ablation: the memory of values keeps its initial value.
        static_rates: ablation: the memory of learning rates keeps its initial value.
        static_decays: ablation: the memory of decays keeps its initial value.
        decay: whether there is a decay; without it, W has no column for it, (E, 3E + 1).
        rate_init: where the learning rates begin: -1 is 0.27 at x W_rate = 0.
        decay_init: where the decays begin: 4 is 0.98 at x W_decay = 0.

    Raises:
        ValueError: num_heads does not divide d_model, or chunk_size is below 1.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        *,
        chunk_size: int = 1,
        normalize_values: bool = True,
        static_keys: bool = False,
        static_values: bool = False,
        static_rates: bool = False,
        static_decays: bool = False,
        decay: bool = True,
        rate_init: float = -1.0,
        decay_init: float = 4.0,
    ) -> None:
        super().__init__(d_model)
        self.num_heads = num_heads
        self.head_dim = head_dim(d_model, num_heads)
        check_whole(chunk_size=chunk_size)
        if chunk_size < 1:
            raise ValueError(f"chunk_size: expected 1 or more, got {chunk_size}")
        self.chunk_size = chunk_size
        self.normalize_values = normalize_values
        self.static_keys = static_keys
        self.static_values = static_values
        self.static_rates = static_rates
        self.static_decays = static_decays
        self.decay = decay
        self.rate_init = rate_init
        self.decay_init = decay_init
        self.weight = nn.Parameter(torch.empty(num_heads, self.head_dim, sum(self._widths())))
        self.query_linear = nn.Linear(d_model, d_model, bias=False)
        self.out_linear = nn.Linear(d_model, d_model, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize W_0."""
        nn.init.normal_(self.weight, std=self.head_dim**-0.5)

    def _widths(self) -> list[int]:
        """Numbers of the columns [y | k | v | rate | decay]."""
        return [*[self.head_dim] * 3, 1, int(self.decay)]

    @property
    def state_shape(self) -> Shape:
        """Shapes of the state of one batch element: (H, E, 3E + 2); with C > 1 twice this, and a number."""
        shift = self.weight.shape
        return shift if self.chunk_size == 1 else (shift, shift, torch.Size(()))

    def _run(self, x: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        state = self.initial_state(len(x)) if state is None else state
        if not x.shape[1]:
            return x.clone(), map_state(Tensor.clone, state)
        heads, q = self._heads(x), self._queries(x)
        with without_autocast(x):
            run = self._steps if self.chunk_size == 1 else self._chunks
            y, state = run(heads, q, state, resets, mask)
        return self._out(y, x), state

    def _query(self, x: Tensor, state: State) -> Tensor:
        shift = state if self.chunk_size == 1 else state[0]
        q = self._queries(x)
        with without_autocast(x):
            y = q.transpose(1, 2) @ (self._initial(shift) + shift)[..., : self.head_dim]
        return self._out(y.transpose(1, 2), x)

    def _heads(self, x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim)

    def _queries(self, x: Tensor) -> Tensor:
        return F.normalize(self._heads(self.query_linear(x)), dim=-1)

    def _out(self, y: Tensor, x: Tensor) -> Tensor:
        out: Tensor = self.out_linear(y.flatten(2).to(x.dtype))
        return out

    def _initial(self, shift: Tensor) -> Tensor:
        return self.weight.to(shift.dtype)

    def _steps(self, x: Tensor, q: Tensor, shift: Tensor, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        initial = self._initial(shift)
        matrix, outputs = initial + shift, []
        for t in range(x.shape[1]):
            if resets is not None:
                matrix = torch.where(resets[:, t, None, None, None], initial, matrix)
            here = slice(t, t + 1)
            y, matrix = self._chunk(x[:, here], q[:, here], matrix, matrix, None if mask is None else mask[:, here])
            outputs.append(y)
        return torch.cat(outputs, 1), matrix - initial

    def _chunks(self, x: Tensor, q: Tensor, state: State, resets: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        shift, start, position = state
        initial = self._initial(shift)
        matrix, start, outputs = initial + shift, initial + start, []
        chunks = chunks_of(position, x.shape[1], resets, mask, self.chunk_size)
        x, q = chunks.gather(x), chunks.gather(q)
        for number in range(x.shape[1]):
            matrix = torch.where(chunks.fresh[:, number, None, None, None], initial, matrix)
            start = torch.where(chunks.opened[:, number, None, None, None], matrix, start)
            y, matrix = self._chunk(x[:, number], q[:, number], start, matrix, chunks.real[:, number])
            outputs.append(y)
        matrix = torch.where(chunks.cleared[:, None, None, None], initial, matrix)
        start = torch.where((chunks.position == 0)[:, None, None, None], matrix, start)
        state = matrix - initial, start - initial, chunks.position.to(shift.dtype)
        return chunks.steps(torch.stack(outputs, 1)), state

    def _chunk(self, x: Tensor, q: Tensor, start: Tensor, matrix: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        """Steps of one chunk, x and q (B, C, H, E), from the matrices at its start and before these steps; real (B, C) bool."""
        x, q = x.transpose(1, 2), q.transpose(1, 2)
        made, y = _read(x, q, start, matrix)
        _, k, v, rate, decay = made.split_with_sizes(self._widths(), dim=-1)
        k = F.normalize(k, dim=-1)
        v = F.normalize(v, dim=-1) if self.normalize_values else v
        rate = (rate + self.rate_init).sigmoid()
        log_decay = F.logsigmoid(decay + self.decay_init) if self.decay else None
        if real is not None:
            padding = ~real[:, None, :, None]
            rate = rate.masked_fill(padding, 0)
            log_decay = None if log_decay is None else log_decay.masked_fill(padding, 0)
        targets, stored = _read(v, k, start, matrix)
        y, after = _write(k, q, targets, stored, y, rate, log_decay, matrix)
        written = self._written(matrix)
        return y[..., : self.head_dim].transpose(1, 2), after if written is None else torch.where(written, after, matrix)

    def _written(self, matrix: Tensor) -> Tensor | None:
        """False for the columns of static memories; None: there are no static ones."""
        static = [False, self.static_keys, self.static_values, self.static_rates, self.static_decays]
        if not any(static):
            return None
        kept = torch.tensor(static, dtype=torch.bool, device=matrix.device)
        widths = torch.tensor(list(self._widths()), dtype=torch.long, device=matrix.device)
        return ~kept.repeat_interleave(widths)


def _read(first: Tensor, second: Tensor, start: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """What the first rows read in the matrix `start`, and the second in `matrix`; in one product if they are the same."""
    if start is not matrix:
        return first @ start, second @ matrix
    both = torch.cat([first, second], -2) @ matrix
    return both[..., : first.shape[-2], :], both[..., first.shape[-2] :, :]


def _write(
    k: Tensor,
    q: Tensor,
    targets: Tensor,
    stored: Tensor,
    read: Tensor,
    rate: Tensor,
    log_decay: Tensor | None,
    matrix: Tensor,
) -> tuple[Tensor, Tensor]:
    """The writes of n steps whose keys, targets, rates and decays are known.

    With a_t, the product of the decays up to step t, W_t = a_t W_0 + Σ_j (a_t / a_j) k_j^T u_j. The rows u solve a triangular
    system: u_t = rate_t (target_t - 2 k_t W_{t-1}).

    Args:
        k: keys (B, H, n, E), of norm 1.
        q: queries (B, H, n, E).
        targets: what each key shall read (B, H, n, M).
        stored: k W_0, (B, H, n, M).
        read: q W_0, (B, H, n, M).
        rate: learning rates (B, H, n, 1).
        log_decay: logarithms of the decays (B, H, n, 1); None: there are none.
        matrix: W_0, (B, H, E, M).

    Returns:
        q_t W_{t-1}, (B, H, n, M), and W_n.
    """
    number = k.shape[-2]
    decays = None
    if log_decay is not None:
        total = log_decay.cumsum(-2)
        before = total - log_decay
        stored, read = before.exp() * stored, before.exp() * read
        decays = before, total
    u = rate * (targets - 2 * stored)
    if number > 1:
        later = torch.ones(number, number, dtype=k.dtype, device=k.device).tril(-1)
        if decays is not None:
            later = later * (decays[0] - decays[1].mT).tril(-1).exp()
        link = 2 * rate * later * (k @ k.mT)
        u = torch.linalg.solve_triangular(link, u, upper=False, unitriangular=True)
        read = read + (later * (q @ k.mT)) @ u
    if decays is not None:
        end = decays[1][..., -1:, :]
        k = (end - decays[1]).exp() * k
        matrix = end.exp() * matrix
    return read, torch.baddbmm(matrix.flatten(0, 1), k.mT.flatten(0, 1), u.flatten(0, 1)).view_as(matrix)
