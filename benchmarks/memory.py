"""The peak of memory that forward and backward add, in a process of its own (Linux).

python benchmarks/memory.py CASE B T H E THREADS         CASE: native, resets, loop or own_backward; prints bytes
"""

import subprocess
import sys
from pathlib import Path

import torch

import srwm_loops
from srwm.ops import srwm

CASES = ("native", "resets", "loop", "own_backward")


def available() -> bool:
    """Whether this system can tell a process's peak since a moment."""
    return Path("/proc/self/clear_refs").exists()


def peak_growth(case: str, shape: tuple[int, int, int, int], threads: int) -> int:
    """Bytes of `case` over what the process held before, in a fresh process."""
    command = [sys.executable, __file__, case, *map(str, shape), str(threads)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _measure(case: str, batch: int, steps: int, heads: int, e: int) -> int:
    _run(case, 1, 2, 1, 4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, steps, heads, e, generator=generator).requires_grad_()
    weight = (torch.randn(heads, e, 3 * e + 4, generator=generator) / e**0.5).requires_grad_()
    cotangent = torch.randn(batch, steps, heads, e, generator=generator)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status("VmRSS")
    _forward_backward(case, x, weight, cotangent)
    return _status("VmHWM") - before


def _run(case: str, batch: int, steps: int, heads: int, e: int) -> None:
    x = torch.ones(batch, steps, heads, e, requires_grad=True)
    weight = torch.ones(heads, e, 3 * e + 4, requires_grad=True)
    _forward_backward(case, x, weight, torch.ones(batch, steps, heads, e))


def _forward_backward(case: str, x: torch.Tensor, weight: torch.Tensor, cotangent: torch.Tensor) -> None:
    if case in ("native", "resets"):
        resets = torch.ones(x.shape[:2], dtype=torch.bool) if case == "resets" else None
        y, _ = srwm(x, weight, resets=resets, backend="native")
    else:
        y, _ = getattr(srwm_loops, case)(x, weight)
    torch.autograd.grad(y, (x, weight), cotangent)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[6]))
    print(_measure(sys.argv[1], *map(int, sys.argv[2:6])))
