"""What the machine is, and how fast it could go."""

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from fma_peak import fma_peak
from srwm.errors import UserError
from srwm.files import check_writable
from srwm.ops.cpu.library import Library

FORWARD_PASSES = 3
"""Products of size E x M in a step: x W, d W, the write."""
PASSES = FORWARD_PASSES + 7
"""With backward: G φ(k), Gᵀ u, W rebuilt, Wᵀ gv, Wᵀ go, and the two rank-one terms of G."""


def describe(library: Library, threads: int) -> dict[str, Any]:
    """The machine and its limits: operations from registers, reads of arrays that fit in a core's first and second cache."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return {
        "cpu": cpu_model(),
        "cores": len(affinity),
        "threads": threads,
        "isa": library.selected_isa,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "fma_peak": fma_peak(library.selected_isa, threads),
        "cache_bandwidth": {f"{size} KB": threads * _read_bandwidth(size * 1024) for size in (16, 256)},
    }


def distance(machine: dict[str, Any], shape: tuple[int, int, int, int], backward: bool, seconds: float) -> dict[str, float]:
    """Fractions of the limits reached: of the multiply-add peak, and of the cache's reads if every product read its matrix.

    Kernels that keep a matrix in registers between products may pass 1 in the latter. The cache is the first where W and its
    gradient fit in 32 KB, else the second.
    """
    batch, steps, heads, e = shape
    elements = e * (3 * e + 4)
    products = batch * steps * heads * elements * (PASSES if backward else FORWARD_PASSES)
    cache = "16 KB" if 4 * elements * (2 if backward else 1) <= 32 * 1024 else "256 KB"
    return {
        "fma": 2 * products / seconds / machine["fma_peak"],
        "cache": 4 * products / seconds / machine["cache_bandwidth"][cache],
    }


def _read_bandwidth(size: int) -> float:
    """Bytes per second of one thread that sums the same `size` bytes again and again."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    again = torch.ones(size // 4).expand(2**26 // size, -1)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        again.sum(1)
        best = min(best, time.perf_counter() - start)
    torch.set_num_threads(threads)
    return again.numel() * 4 / best


def thread_count(text: str) -> int:
    """Threads as the command line gives them; for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return int(text)


def cpu_model() -> str:
    """The name that the processor gives itself."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def check_outputs(*paths: Path | None) -> None:
    """Exit with a line where a file that a benchmark is to write cannot be written; None passes."""
    try:
        for path in paths:
            if path is not None:
                check_writable(path)
    except UserError as error:
        raise SystemExit(str(error)) from error
