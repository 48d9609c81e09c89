"""The self-referential weight matrix as PyTorch loops: what the native kernels compete with.

Every loop takes x (B, T, H, E) and weight (H, E, M), M = D + 2E + 4, and returns y (B, T, H, D) and the shift (B, H, E, M), as
W_T - W_0, which is faster than the native operation's separate sum and less exact. Batched products run over N = B x H.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor

Loop = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

LARGE_STATE = 100_000
"""Floats of W, over batch and heads, from which one product with two rows beats two products with one row, under autograd."""


def loop(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The fastest of the loops that autograd differentiates; in place where no gradient is needed."""
    steps, matrix, selection = _start(x, weight)
    if not torch.is_grad_enabled():
        ys, matrix = _in_place(steps, matrix.clone(), selection)
    elif matrix.numel() < LARGE_STATE:
        ys, matrix = _single_reads(steps, matrix, selection)
    else:
        ys, matrix = _double_reads(steps, matrix, selection)
    return _finish(ys, matrix, weight, x.shape[0])


def own_backward(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """A loop with the backward written by hand: W is rebuilt backwards instead of being kept at every step."""
    steps, matrix, selection = _start(x, weight)
    ys, matrix = _OwnBackward.apply(steps, matrix, selection)
    return _finish(ys.unbind(), matrix, weight, x.shape[0])


def separate(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """As the equations are usually written down: four matrices, v and v̄ read apart."""
    batch, steps, _, e = x.shape
    sizes = [weight.shape[2] - 2 * e - 4, e, e, 4]
    matrices = [w.expand(batch, -1, -1, -1) for w in weight.split(sizes, dim=2)]
    ys = []
    for t in range(steps):
        y, q, k, beta = (torch.einsum("bhe,bhem->bhm", x[:, t], w) for w in matrices)
        q, k, beta = q.softmax(-1), k.softmax(-1), beta.sigmoid()
        ys.append(y)
        wanted = [torch.einsum("bhe,bhem->bhm", q, w) for w in matrices]
        stored = [torch.einsum("bhe,bhem->bhm", k, w) for w in matrices]
        matrices = [
            w + torch.einsum("bhe,bhm->bhem", k, beta[..., i, None] * (wanted[i] - stored[i])) for i, w in enumerate(matrices)
        ]
    return torch.stack(ys, dim=1), torch.cat(matrices, dim=3) - weight


def step(x: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """One step for streaming: x (B, 1, H, E) and W itself (B, H, E, M) give y (B, 1, H, D) and the next W."""
    batch, _, heads, e = x.shape
    n, m = batch * heads, matrix.shape[3]
    y, key, update = _write(torch.bmm(x.view(n, 1, e), matrix.view(n, e, m)), matrix.view(n, e, m), _rate_selection(e, m, x))
    return y.view(batch, 1, heads, -1), torch.addcmul(matrix.view(n, e, m), key, update).view(matrix.shape)


def compiled(steps: int, limit: float) -> Loop:
    """The loop under torch.compile, a few steps to a graph: unrolled as far as compiling stays quick.

    The first call in each mode raises CompileTimeoutError where it takes more than `limit` seconds.
    """
    chunk = max(size for size in range(1, 7) if steps % size == 0)
    run_chunk = torch.compile(_chunk, fullgraph=True, dynamic=False)
    known_modes: set[bool] = set()

    def run(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        inputs, matrix, selection = _start(x, weight)
        ys = []
        for part in inputs.split(chunk):
            y, matrix = run_chunk(part, matrix, selection)
            ys.append(y)
        return _finish(torch.cat(ys).unbind(), matrix, weight, x.shape[0])

    def limited(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        mode = torch.is_grad_enabled()
        if mode in known_modes:
            return run(x, weight)
        with _time_limit(limit):
            results = run(x, weight)
        known_modes.add(mode)
        return results

    return limited


def warm_up_compiler() -> None:
    """Load the compiler, whose imports must not be cut off by a time limit."""
    torch.compile(torch.neg)(torch.zeros(1))


class CompileTimeoutError(BaseException):
    """Compiling took too long. No Exception, so that the compiler does not take it for a failure of its own."""


def _start(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, steps, heads, e = x.shape
    m = weight.shape[2]
    inputs = x.transpose(0, 1).reshape(steps, batch * heads, 1, e)
    matrix = weight.expand(batch, heads, e, m).reshape(batch * heads, e, m)
    return inputs, matrix, _rate_selection(e, m, x)


def _rate_selection(e: int, m: int, like: Tensor) -> Tensor:
    """(4, M), one-hot: which of the four rates a column learns with."""
    blocks = torch.tensor([m - 2 * e - 4, e, e, 4])
    return torch.eye(4, dtype=like.dtype).repeat_interleave(blocks, dim=1)


def _finish(ys: Any, matrix: Tensor, weight: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    heads, e, m = weight.shape
    y = torch.stack(ys, dim=1).view(batch, heads, len(ys), m - 2 * e - 4).transpose(1, 2)
    return y, matrix.view(batch, heads, e, m) - weight


def _activate(read: Tensor, e: int, selection: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From x @ W (N, 1, M): y (N, 1, D), [φ(q), φ(k)] (N, 2, E), the four rates (N, 4), and those of all columns (N, 1, M)."""
    n, _, m = read.shape
    y, qk, beta = read.split([m - 2 * e - 4, 2 * e, 4], dim=2)
    rates = beta.view(n, 4).sigmoid()
    return y, qk.view(n, 2, e).softmax(-1), rates, torch.mm(rates, selection).view(n, 1, m)


def _write(read: Tensor, matrix: Tensor, selection: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What x @ W makes of W: y, and the two factors (N, E, 1) and (N, 1, M) of the rank-one write."""
    y, qk, _, rates = _activate(read, matrix.shape[1], selection)
    q, k = qk.split(1, dim=1)
    return y, k.transpose(1, 2), torch.bmm(q - k, matrix) * rates


def _in_place(inputs: Tensor, matrix: Tensor, selection: Tensor) -> tuple[list[Tensor], Tensor]:
    ys = []
    for x in inputs.unbind():
        y, key, update = _write(torch.bmm(x, matrix), matrix, selection)
        matrix.addcmul_(key, update)
        ys.append(y)
    return ys, matrix


def _single_reads(inputs: Tensor, matrix: Tensor, selection: Tensor) -> tuple[list[Tensor], Tensor]:
    ys = []
    for x in inputs.unbind():
        y, key, update = _write(torch.bmm(x, matrix), matrix, selection)
        matrix = torch.baddbmm(matrix, key, update)
        ys.append(y)
    return ys, matrix


def _double_reads(inputs: Tensor, matrix: Tensor, selection: Tensor) -> tuple[list[Tensor], Tensor]:
    """Reads the next input from the old W, in one product with the difference of query and key, and adds what it missed."""
    *steps, last = inputs.unbind()
    e = matrix.shape[1]
    ys = []
    read = torch.bmm(inputs[0], matrix)
    for following in [*steps[1:], last] if steps else []:
        y, qk, _, rates = _activate(read, e, selection)
        q, k = qk.split(1, dim=1)
        key = k.transpose(1, 2)
        difference, stale = torch.bmm(torch.cat([q - k, following], dim=1), matrix).split(1, dim=1)
        update = difference * rates
        read = torch.addcmul(stale, torch.bmm(following, key), update)
        matrix = torch.baddbmm(matrix, key, update)
        ys.append(y)
    y, key, update = _write(read, matrix, selection)
    return [*ys, y], torch.baddbmm(matrix, key, update)


def _chunk(inputs: Tensor, matrix: Tensor, selection: Tensor) -> tuple[Tensor, Tensor]:
    ys = []
    for x in inputs.unbind():
        y, key, update = _write(torch.bmm(x, matrix), matrix, selection)
        matrix = matrix + key * update
        ys.append(y)
    return torch.stack(ys), matrix


class _OwnBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, matrix: Tensor, selection: Tensor) -> tuple[Tensor, Tensor]:
        matrix = matrix.clone()
        ys, rows = [], []
        for x in inputs.unbind():
            y, qk, rates, column_rates = _activate(torch.bmm(x, matrix), matrix.shape[1], selection)
            q, k = qk.split(1, dim=1)
            difference = q - k
            change = torch.bmm(difference, matrix)
            update = change * column_rates
            matrix.addcmul_(k.transpose(1, 2), update)
            ys.append(y)
            rows.append((x, qk, rates, column_rates, difference, change, update))
        ctx.rows, ctx.selection = rows, selection
        ctx.save_for_backward(matrix)
        return torch.stack(ys), matrix

    @staticmethod
    def backward(ctx: Any, grad_ys: Tensor, grad_matrix: Tensor) -> tuple[Tensor, Tensor, None]:
        matrix = ctx.saved_tensors[0].clone()
        gradient = grad_matrix.clone()
        n, e, m = matrix.shape
        to_rates = ctx.selection.T.contiguous()
        grad_inputs = []
        for grad_y, row in zip(reversed(grad_ys.unbind()), reversed(ctx.rows), strict=True):
            x, qk, rates, column_rates, difference, change, update = row
            key = qk[:, 1:]
            matrix.addcmul_(key.transpose(1, 2), update, value=-1)
            transposed = matrix.transpose(1, 2)
            grad_update = torch.bmm(key, gradient)
            grad_rates = torch.mm((grad_update * change).view(n, m), to_rates)
            grad_change = grad_update.mul_(column_rates)
            grad_q = torch.bmm(grad_change, transposed)
            grad_k = torch.bmm(update, gradient.transpose(1, 2)).sub_(grad_q)
            grad_qk = torch.ops.aten._softmax_backward_data(torch.cat([grad_q, grad_k], dim=1), qk, -1, qk.dtype)
            grad_beta = torch.ops.aten.sigmoid_backward(grad_rates, rates)
            grad_read = torch.cat([grad_y, grad_qk.view(n, 1, 2 * e), grad_beta.view(n, 1, 4)], dim=2)
            grad_inputs.append(torch.bmm(grad_read, transposed))
            gradient.addcmul_(difference.transpose(1, 2), grad_change).addcmul_(x.transpose(1, 2), grad_read)
        return torch.stack(grad_inputs[::-1]), gradient, None


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise CompileTimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
