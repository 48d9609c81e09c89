"""Fast weights: one program for each sequence, head and block of columns, which do not depend on one another.

The state of the block stays in registers. Backward needs the states in reverse: it repeats them from copies at the start of
segments of about sqrt(T) steps, one segment at a time, from the saved errors, so that no product is computed twice.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["T", "H", "D"])
def forward(
    q,
    k,
    v,
    beta,
    decay,
    state,
    resets,
    mask,
    y,
    state_out,
    error,
    T,
    H,
    D,
    E: tl.constexpr,
    BE: tl.constexpr,
    BD: tl.constexpr,
    HAS_BETA: tl.constexpr,
    HAS_DECAY: tl.constexpr,
    HAS_STATE: tl.constexpr,
    HAS_RESETS: tl.constexpr,
    HAS_MASK: tl.constexpr,
    TRAINING: tl.constexpr,
):
    """y, the last state and, for training with beta, the errors v - k state.

    q, k and v are loaded one step ahead. Any pointer stands for what a flag says is not given.
    """
    program = tl.program_id(0).to(tl.int64)
    b, h = program // H, program % H
    e, d = tl.arange(0, BE), tl.program_id(1) * BD + tl.arange(0, BD)
    in_e, in_d = e < E, d < D
    at, inside = program * E * D + e[:, None] * D + d[None, :], in_e[:, None] & in_d[None, :]
    s = tl.zeros((BE, BD), tl.float32)
    if HAS_STATE:
        s = tl.load(state + at, inside, 0.0)
    step = b * T * H + h
    next_q, next_k = tl.load(q + step * E + e, in_e, 0.0), tl.load(k + step * E + e, in_e, 0.0)
    next_v = tl.load(v + step * D + d, in_d, 0.0)
    for t in range(T):
        qt, kt, vt = next_q, next_k, next_v
        next_e, next_d = e < tl.where(t + 1 < T, E, 0), d < tl.where(t + 1 < T, D, 0)
        next_q, next_k = tl.load(q + (step + H) * E + e, next_e, 0.0), tl.load(k + (step + H) * E + e, next_e, 0.0)
        next_v = tl.load(v + (step + H) * D + d, next_d, 0.0)
        if HAS_RESETS:
            if tl.load(resets + b * T + t) != 0:
                s = tl.zeros_like(s)
        real = True
        if HAS_MASK:
            real = tl.load(mask + b * T + t) != 0
        if real:
            if HAS_DECAY:
                s = tl.load(decay + step) * s
            write = vt
            if HAS_BETA:
                write = vt - tl.sum(s * kt[:, None], 0)
                if TRAINING:
                    tl.store(error + step * D + d, write, in_d)
                write = tl.load(beta + step) * write
            s += kt[:, None] * write[None, :]
            tl.store(y + step * D + d, tl.sum(s * qt[:, None], 0), in_d)
        step += H
    tl.store(state_out + at, s, inside)


@triton.jit
def advance(
    s,
    k,
    written,
    beta,
    decay,
    resets,
    mask,
    b,
    t,
    step,
    e,
    d,
    in_e,
    in_d,
    T,
    D,
    E: tl.constexpr,
    HAS_BETA: tl.constexpr,
    HAS_DECAY: tl.constexpr,
    HAS_RESETS: tl.constexpr,
    HAS_MASK: tl.constexpr,
):
    """The state before step t's decay and write, which is zero at a reset, and the state after the step.

    `written` is what is written, times beta: the errors, or v.
    """
    if HAS_RESETS:
        if tl.load(resets + b * T + t) != 0:
            s = tl.zeros_like(s)
    before = s
    real = True
    if HAS_MASK:
        real = tl.load(mask + b * T + t) != 0
    if real:
        if HAS_DECAY:
            s = tl.load(decay + step) * s
        write = tl.load(written + step * D + d, in_d, 0.0)
        if HAS_BETA:
            write = tl.load(beta + step) * write
        s += tl.load(k + step * E + e, in_e, 0.0)[:, None] * write[None, :]
    return before, s


@triton.jit(do_not_specialize=["T", "H", "D", "N", "INTERVAL"])
def backward(
    q,
    k,
    written,
    beta,
    decay,
    state,
    resets,
    mask,
    grad_y,
    grad_state_out,
    grad_q,
    grad_k,
    grad_v,
    grad_beta,
    grad_decay,
    grad_state,
    copies,
    states,
    T,
    H,
    D,
    N,
    INTERVAL,
    E: tl.constexpr,
    BE: tl.constexpr,
    BD: tl.constexpr,
    HAS_BETA: tl.constexpr,
    HAS_DECAY: tl.constexpr,
    HAS_STATE: tl.constexpr,
    HAS_RESETS: tl.constexpr,
    HAS_MASK: tl.constexpr,
    HAS_GRAD_STATE: tl.constexpr,
):
    """Gradients of v and the state, and each block's share of those of q, k, beta and decay, `N` = B T H steps apart.

    `written` is the errors with beta, else v. `copies` and `states` are memory for the states at the start of each segment of
    INTERVAL steps, and for those of one segment.
    """
    program, block = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    b, h = program // H, program % H
    e, column = tl.arange(0, BE), tl.arange(0, BD)
    d = block * BD + column
    in_e, in_d = e < E, d < D
    at, inside = program * E * D + e[:, None] * D + d[None, :], in_e[:, None] & in_d[None, :]
    segments = (T + INTERVAL - 1) // INTERVAL
    own = program * tl.num_programs(1) + block
    kept_at = e[:, None] * BD + column[None, :]
    copies += own * segments * E * BD
    states += own * INTERVAL * E * BD
    kept = in_e[:, None] & (column < BD)[None, :]
    first = b * T * H + h
    s = tl.zeros((BE, BD), tl.float32)
    if HAS_STATE:
        s = tl.load(state + at, inside, 0.0)
    for t in range(T):
        if t % INTERVAL == 0:
            tl.store(copies + (t // INTERVAL) * E * BD + kept_at, s, kept)
        _, s = advance(
            s, k, written, beta, decay, resets, mask, b, t, first + t * H, e, d, in_e, in_d, T, D,
            E, HAS_BETA, HAS_DECAY, HAS_RESETS, HAS_MASK,
        )  # fmt: skip
    g = tl.zeros((BE, BD), tl.float32)
    if HAS_GRAD_STATE:
        g = tl.load(grad_state_out + at, inside, 0.0)
    for i in range(segments):
        start = (segments - 1 - i) * INTERVAL
        steps = tl.minimum(INTERVAL, T - start)
        tl.debug_barrier()  # the copies and the last segment's reads are done
        s = tl.load(copies + (segments - 1 - i) * E * BD + kept_at, kept, 0.0)
        for j in range(steps):
            before, s = advance(
                s, k, written, beta, decay, resets, mask, b, start + j, first + (start + j) * H, e, d, in_e, in_d, T, D,
                E, HAS_BETA, HAS_DECAY, HAS_RESETS, HAS_MASK,
            )  # fmt: skip
            tl.store(states + j * E * BD + kept_at, before, kept)
        tl.debug_barrier()
        for j in range(steps):
            t = start + steps - 1 - j
            step = first + t * H
            real = True
            if HAS_MASK:
                real = tl.load(mask + b * T + t) != 0
            if real:
                before = tl.load(states + (steps - 1 - j) * E * BD + kept_at, kept, 0.0)
                qt, kt = tl.load(q + step * E + e, in_e, 0.0), tl.load(k + step * E + e, in_e, 0.0)
                gy, write = tl.load(grad_y + step * D + d, in_d, 0.0), tl.load(written + step * D + d, in_d, 0.0)
                share = block * N + step
                base = before
                if HAS_DECAY:
                    factor = tl.load(decay + step)
                    base = factor * before
                g += qt[:, None] * gy[None, :]
                of_write = tl.sum(g * kt[:, None], 0)
                if HAS_BETA:
                    rate = tl.load(beta + step)
                    tl.store(grad_beta + share, tl.sum(of_write * write, 0))
                    write, of_write = rate * write, rate * of_write
                of_q = tl.sum((base + kt[:, None] * write[None, :]) * gy[None, :], 1)
                of_k = tl.sum(g * write[None, :], 1)
                if HAS_BETA:  # back through the read of the key
                    of_k -= tl.sum(base * of_write[None, :], 1)
                    g -= kt[:, None] * of_write[None, :]
                if HAS_DECAY:
                    tl.store(grad_decay + share, tl.sum(tl.sum(g * before, 1), 0))
                    g = factor * g
                tl.store(grad_q + share * E + e, of_q, in_e)
                tl.store(grad_k + share * E + e, of_k, in_e)
                tl.store(grad_v + step * D + d, of_write, in_d)
            if HAS_RESETS:
                if tl.load(resets + b * T + t) != 0:
                    g = tl.zeros_like(g)
    if HAS_STATE:
        tl.store(grad_state + at, g, inside)
