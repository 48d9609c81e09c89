"""A self-referential matrix as four tiles, W = [y | q | k | beta], so that E and D are padded to powers of two, not D + 2E + 4.

The functions take and return such tuples of four: tiles (E, columns), or vectors with an entry for each column.
"""

import triton
import triton.language as tl


@triton.jit
def offsets(e, d, f, E: tl.constexpr, D: tl.constexpr):
    """Where the tiles lie in a contiguous E x (D + 2E + 4) matrix."""
    row = e[:, None] * (D + 2 * E + 4)
    return (row + d[None, :], row + (D + e)[None, :], row + (D + E + e)[None, :], row + (D + 2 * E + f)[None, :])


@triton.jit
def insides(e, d, f, E: tl.constexpr, D: tl.constexpr):
    """What of the tiles is not padding."""
    rows = (e < E)[:, None]
    square = rows & (e < E)[None, :]
    return (rows & (d < D)[None, :], square, square, rows & (f < 4)[None, :])


@triton.jit
def load(base, at, inside):
    """The tiles of a matrix in memory, padded with zeros."""
    return (
        tl.load(base + at[0], inside[0], 0.0),
        tl.load(base + at[1], inside[1], 0.0),
        tl.load(base + at[2], inside[2], 0.0),
        tl.load(base + at[3], inside[3], 0.0),
    )


@triton.jit
def store(base, at, inside, w):
    """Write the tiles to a matrix in memory."""
    tl.store(base + at[0], w[0], inside[0])
    tl.store(base + at[1], w[1], inside[1])
    tl.store(base + at[2], w[2], inside[2])
    tl.store(base + at[3], w[3], inside[3])


@triton.jit
def zeros(w):
    """Zeros of the shapes of w."""
    return (tl.zeros_like(w[0]), tl.zeros_like(w[1]), tl.zeros_like(w[2]), tl.zeros_like(w[3]))


@triton.jit
def add(a, b):
    """a + b."""
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])


@triton.jit
def add_scaled(a, factor, b):
    """a + factor b, for a number."""
    return (a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2], a[3] + factor * b[3])


@triton.jit
def read(w, x):
    """x W: the tiles' columns summed with the weights x (E,)."""
    return (
        tl.sum(w[0] * x[:, None], 0),
        tl.sum(w[1] * x[:, None], 0),
        tl.sum(w[2] * x[:, None], 0),
        tl.sum(w[3] * x[:, None], 0),
    )


@triton.jit
def read_rows(w, u):
    """W u: the tiles' rows summed with the weights u, a vector (E,)."""
    return (
        tl.sum(w[0] * u[0][None, :], 1)
        + tl.sum(w[1] * u[1][None, :], 1)
        + tl.sum(w[2] * u[2][None, :], 1)
        + tl.sum(w[3] * u[3][None, :], 1)
    )


@triton.jit
def write(w, k, u):
    """W + k u^T."""
    return (
        w[0] + k[:, None] * u[0][None, :],
        w[1] + k[:, None] * u[1][None, :],
        w[2] + k[:, None] * u[2][None, :],
        w[3] + k[:, None] * u[3][None, :],
    )


@triton.jit
def entry(vector, index, i: tl.constexpr):
    """Entry i of a vector, whose entries are numbered by `index`, as a number."""
    return tl.sum(tl.where(index == i, vector, 0.0), 0)


@triton.jit
def scale(v, rates, f):
    """Each of the four vectors times its own learning rate."""
    return (v[0] * entry(rates, f, 0), v[1] * entry(rates, f, 1), v[2] * entry(rates, f, 2), v[3] * entry(rates, f, 3))


@triton.jit
def softmax(z, inside):
    """softmax over the entries that are not padding; 0 in the padding."""
    z = tl.where(inside, z, float("-inf"))
    powers = tl.exp(z - tl.max(z, 0))
    return powers / tl.sum(powers, 0)


@triton.jit
def store_row(base, e, d, f, E: tl.constexpr, D: tl.constexpr, q, k, v, rates):
    """Save what backward needs of a step: softmax(q), softmax(k), v = W (q - k), the rates."""
    tl.store(base + e, q, e < E)
    tl.store(base + E + e, k, e < E)
    tl.store(base + 2 * E + d, v[0], d < D)
    tl.store(base + 2 * E + D + e, v[1], e < E)
    tl.store(base + 3 * E + D + e, v[2], e < E)
    tl.store(base + 4 * E + D + f, v[3])
    tl.store(base + 4 * E + D + 4 + f, rates)


@triton.jit
def load_write(base, e, d, f, E: tl.constexpr, D: tl.constexpr, there):
    """The saved softmax(k), v and rates of a step; zeros unless `there`."""
    inside_e, inside_d, inside_f = e < tl.where(there, E, 0), d < tl.where(there, D, 0), f < tl.where(there, 4, 0)
    k = tl.load(base + E + e, inside_e, 0.0)
    v = (
        tl.load(base + 2 * E + d, inside_d, 0.0),
        tl.load(base + 2 * E + D + e, inside_e, 0.0),
        tl.load(base + 3 * E + D + e, inside_e, 0.0),
        tl.load(base + 4 * E + D + f, inside_f, 0.0),
    )
    return k, v, tl.load(base + 4 * E + D + 4 + f, inside_f, 0.0)
