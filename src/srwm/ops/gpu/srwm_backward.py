"""Backward of the self-referential weight matrix: one program for each sequence and head, from the last step to the first.

W is rebuilt by taking the writes back. Held beside it are G, the gradient of the state, and, where a gradient of the state came
in or resets cut it, A, the gradient of W_0: their difference would cancel where G is much larger.
"""

import triton
import triton.language as tl

from srwm.ops.gpu import blocks


@triton.jit(do_not_specialize=["T", "H"])
def backward(
    x,
    weight,
    state,
    resets,
    mask,
    state_out,
    saved,
    checkpoints,
    starts,
    grad_y,
    grad_state_out,
    grad_x,
    grad_weight,
    grad_state,
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
    HAS_GRAD_STATE: tl.constexpr,
    OF_STATE: tl.constexpr,
):
    """Gradients of x, of the initial state if OF_STATE, and this sequence's share of the gradient of W_0.

    `starts` (B, T) is the first step of the segment that each step is in, -1 where it goes on from the initial state.
    A step's rows are loaded while the step after it is computed; x and the gradient of y are needed late in a step.
    """
    ROW: tl.constexpr = D + 4 * E + 8
    MATRIX: tl.constexpr = E * (D + 2 * E + 4)
    APART: tl.constexpr = HAS_GRAD_STATE or HAS_RESETS  # else the gradient of W_0 is that of the state
    program = tl.program_id(0).to(tl.int64)
    b, h = program // H, program % H
    e, d, f = tl.arange(0, BE), tl.arange(0, BD), tl.arange(0, 4)
    at, inside = blocks.offsets(e, d, f, E, D), blocks.insides(e, d, f, E, D)
    initial = weight + h * MATRIX
    copies = checkpoints + program * ((T - 1) // INTERVAL) * MATRIX
    w = blocks.add(blocks.load(initial, at, inside), blocks.load(state_out + program * MATRIX, at, inside))
    g = blocks.zeros(w)
    if HAS_GRAD_STATE:
        g = blocks.load(grad_state_out + program * MATRIX, at, inside)
    if APART:
        a = blocks.zeros(w)
    last = (b * T + T - 1) * H + h
    x_at, grad_x_at = x + last * E + e, grad_x + last * E + e
    grad_y_at, row_at = grad_y + last * D + d, saved + last * ROW
    q = tl.load(row_at + e, e < E, 0.0)
    k, v, rates = blocks.load_write(row_at, e, d, f, E, D, True)
    for i in range(T):
        t = T - 1 - i
        xt, gy = tl.load(x_at, e < E, 0.0), tl.load(grad_y_at, d < D, 0.0)
        row_at -= H * ROW
        next_q = tl.load(row_at + e, e < tl.where(t > 0, E, 0), 0.0)
        next_k, next_v, next_rates = blocks.load_write(row_at, e, d, f, E, D, t > 0)
        real = True
        if HAS_MASK:
            real = tl.load(mask + b * T + t) != 0
        if real:
            u = blocks.scale(v, rates, f)
            w = blocks.write(w, -k, u)
            gk = blocks.read(g, k)
            of_rates = (
                tl.where(f == 0, tl.sum(gk[0] * v[0], 0), 0.0)
                + tl.where(f == 1, tl.sum(gk[1] * v[1], 0), 0.0)
                + tl.where(f == 2, tl.sum(gk[2] * v[2], 0), 0.0)
                + tl.where(f == 3, tl.sum(gk[3] * v[3], 0), 0.0)
            )
            of_v = blocks.scale(gk, rates, f)
            of_difference = blocks.read_rows(w, of_v)
            of_key = blocks.read_rows(g, u) - of_difference
            of_z = (
                gy,
                q * (of_difference - tl.sum(q * of_difference, 0)),
                k * (of_key - tl.sum(k * of_key, 0)),
                of_rates * rates * (1.0 - rates),
            )
            tl.store(grad_x_at, blocks.read_rows(w, of_z), e < E)
            g = blocks.write(blocks.write(g, q - k, of_v), xt, of_z)
            if APART:
                a = blocks.write(blocks.write(a, q - k, of_v), xt, of_z)
        if (t > 0) & (t % INTERVAL == 0):  # go on from the copy of W before this step
            w = blocks.load(copies + (t // INTERVAL - 1) * MATRIX, at, inside)
        if HAS_RESETS:
            if tl.load(resets + b * T + t) != 0:
                g = blocks.zeros(g)
                if t > 0:  # rebuild W at the end of the earlier segment, from its start or its last copy
                    begin = tl.load(starts + b * T + t - 1)
                    copy = (t - 1) // INTERVAL
                    if (copy > 0) & (copy * INTERVAL > begin):
                        w = blocks.load(copies + (copy - 1) * MATRIX, at, inside)
                        begin = copy * INTERVAL
                    else:
                        w = blocks.load(initial, at, inside)
                        if HAS_STATE:
                            if begin < 0:
                                w = blocks.add(w, blocks.load(state + program * MATRIX, at, inside))
                        begin = tl.maximum(begin, 0)
                    rebuilt_at = saved + ((b * T + begin) * H + h) * ROW
                    for s in range(begin, t):
                        written = True
                        if HAS_MASK:
                            written = tl.load(mask + b * T + s) != 0
                        if written:
                            old_k, old_v, old_rates = blocks.load_write(rebuilt_at, e, d, f, E, D, True)
                            w = blocks.write(w, old_k, blocks.scale(old_v, old_rates, f))
                        rebuilt_at += H * ROW
        q, k, v, rates = next_q, next_k, next_v, next_rates
        x_at -= H * E
        grad_x_at -= H * E
        grad_y_at -= H * D
    if OF_STATE:
        blocks.store(grad_state + program * MATRIX, at, inside, g)
    if APART:
        blocks.store(grad_weight + program * MATRIX, at, inside, a)
    else:
        blocks.store(grad_weight + program * MATRIX, at, inside, g)
