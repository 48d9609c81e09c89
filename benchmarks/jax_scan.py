"""The self-referential weight matrix as a JAX scan under jit, timed on request.

    python benchmarks/jax_scan.py THREADS

reads one JSON object a line and answers with one. `{"load": "a.npz", "mode": "forward" | "gradient" | "step", "save": "b.npz"}`
compiles for the arrays in a.npz (x, weight, cotangent) and writes the results as arr_0, arr_1...; `{"repeat": 3}` answers with
the seconds of three calls. The process keeps to the first THREADS of its CPUs, of which XLA makes as many threads.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("threads", type=int, help="CPUs to keep to, and threads of XLA")
threads = parser.parse_args().threads
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
os.environ["JAX_PLATFORMS"] = "cpu"
if threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

SMALL_BATCH = 16
"""Matrices (batch x heads) up to which scanning four steps at a time is faster."""


def srwm(x: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x (B, T, H, E) and weight (H, E, D + 2E + 4) give y (B, T, H, D) and the shift W_T - W_0."""
    start = jnp.broadcast_to(weight, (x.shape[0], *weight.shape))
    unroll = 4 if x.shape[0] * x.shape[2] <= SMALL_BATCH else 1
    end, ys = jax.lax.scan(_step, start, jnp.swapaxes(x, 0, 1), unroll=unroll)
    return jnp.swapaxes(ys, 0, 1), end - start


def _step(matrix: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    e, m = matrix.shape[2:]
    d = m - 2 * e - 4
    y, q, k, beta = jnp.split(_read(x, matrix), (d, d + e, d + 2 * e), axis=-1)
    key = jax.nn.softmax(k)
    rates = jax.nn.sigmoid(beta)
    columns = [jnp.broadcast_to(rates[..., i : i + 1], (*rates.shape[:-1], n)) for i, n in enumerate((d, e, e, 4))]
    update = jnp.concatenate(columns, axis=-1) * _read(jax.nn.softmax(q) - key, matrix)
    return matrix + key[..., None] * update[..., None, :], y


def _read(x: jax.Array, matrix: jax.Array) -> jax.Array:
    return jnp.einsum("bhe,bhem->bhm", x, matrix)


def _function(mode: str) -> Callable[..., Any]:
    """What is timed: of (x, weight, cotangent), results as a flat tuple."""
    if mode == "forward":
        return lambda x, weight, _: srwm(x, weight)
    if mode == "step":
        return lambda x, matrix, _: _streamed(x, matrix)

    def loss(x: jax.Array, weight: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = srwm(x, weight)[0]
        return (y * cotangent).sum(), y

    def gradient(x: jax.Array, weight: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, ...]:
        (_, y), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, weight, cotangent)
        return y, *grads

    return gradient


def _streamed(x: jax.Array, matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    following, y = _step(matrix, x[:, 0])
    return y[:, None], following


def _serve() -> None:
    call: Callable[[], Any]
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            with np.load(request["load"]) as arrays:
                arguments = [jnp.asarray(arrays[name]) for name in ("x", "weight", "cotangent")]
            function = jax.jit(_function(request["mode"]))

            def call(function: Any = function, arguments: Any = arguments) -> Any:
                return jax.block_until_ready(function(*arguments))

            np.savez(request["save"], *(np.asarray(a) for a in call()))
            answer: dict[str, Any] = {"jax": jax.__version__}
        else:
            seconds = []
            for _ in range(request["repeat"]):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
            answer = {"seconds": seconds}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
