"""Forward of the self-referential weight matrix: one program for each sequence and head, W in registers through all steps."""

import triton
import triton.language as tl

from srwm.ops.gpu import blocks

# Unaligned matrices give each thread one column of W: then sums over rows stay within fewer threads.
_MATRICES = ["weight", "state", "state_out", "checkpoints"]


@triton.jit(do_not_specialize=["T", "H"], do_not_specialize_on_alignment=_MATRICES)
def forward(
    x,
    weight,
    state,
    resets,
    mask,
    y,
    state_out,
    saved,
    checkpoints,
    T,
    H,
    E: tl.constexpr,
    D: tl.constexpr,
    BE: tl.constexpr,
    BD: tl.constexpr,
    INTERVAL: tl.constexpr,
    HAS_STATE: tl.constexpr,
    HAS_RESETS: tl.constexpr,
    HAS_MASK: tl.constexpr,
    TRAINING: tl.constexpr,
):
    """y, the last shift and, for training, rows and copies of W; any pointer stands for what a flag says is not given.

    Two things keep a step short. x is loaded two steps ahead. And the next step's read does not wait for this step's write:
    x' (W + k u^T) = x' W + (x'.k) u, so W is read for both together. After a reset or a padded step it is read afresh.
    """
    ROW: tl.constexpr = D + 4 * E + 8
    MATRIX: tl.constexpr = E * (D + 2 * E + 4)
    program = tl.program_id(0).to(tl.int64)
    b, h = program // H, program % H
    e, d, f = tl.arange(0, BE), tl.arange(0, BD), tl.arange(0, 4)
    at, inside = blocks.offsets(e, d, f, E, D), blocks.insides(e, d, f, E, D)
    initial = weight + h * MATRIX
    w = blocks.load(initial, at, inside)
    shift = blocks.zeros(w)
    if HAS_STATE:
        shift = blocks.load(state + program * MATRIX, at, inside)
        w = blocks.add(w, shift)
    first = b * T * H + h
    x_at, y_at, row_at = x + first * E + e, y + first * D + d, saved + first * ROW
    xt = tl.load(x_at, e < E, 0.0)
    following = tl.load(x_at + H * E, e < tl.where(T > 1, E, 0), 0.0)
    z = blocks.read(w, xt)
    stale = 0  # 1: z was read before W last changed
    for t in range(T):
        after = tl.load(x_at + 2 * H * E, e < tl.where(t + 2 < T, E, 0), 0.0)
        if HAS_RESETS:
            if tl.load(resets + b * T + t) != 0:
                w = blocks.load(initial, at, inside)
                shift = blocks.zeros(w)
                stale = 1
        if TRAINING:
            if (t > 0) & (t % INTERVAL == 0):
                copy = program * ((T - 1) // INTERVAL) + t // INTERVAL - 1
                blocks.store(checkpoints + copy * MATRIX, at, inside, w)
        real = True
        if HAS_MASK:
            real = tl.load(mask + b * T + t) != 0
        if real:
            if HAS_RESETS or HAS_MASK:
                if stale != 0:
                    z = blocks.read(w, xt)
            tl.store(y_at, z[0], d < D)
            q, k = blocks.softmax(z[1], e < E), blocks.softmax(z[2], e < E)
            rates = 1.0 / (1.0 + tl.exp(-z[3]))
            z = blocks.read(w, following)
            v = blocks.read(w, q - k)
            u = blocks.scale(v, rates, f)
            z = blocks.add_scaled(z, tl.sum(k * following, 0), u)
            w = blocks.write(w, k, u)
            shift = blocks.write(shift, k, u)
            if TRAINING:
                blocks.store_row(row_at, e, d, f, E, D, q, k, v, rates)
            stale = 0
        else:
            stale = 1
        xt, following = following, after
        x_at += H * E
        y_at += H * D
        row_at += H * ROW
    blocks.store(state_out + program * MATRIX, at, inside, shift)
