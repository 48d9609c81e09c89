"""Threads share out sequences and heads: the same number gives the same bits, another number the same up to rounding."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor

from srwm import ops
from srwm.ops.cpu import library

from .recurrences import Recurrence, Sizes, draw, draw_flags, evaluate, largest_error

# Enough work for two threads and more; one item, fewer items than threads, a head split between threads.
SHAPES = [Sizes(1, 200, 1, 32, 32), Sizes(1, 200, 2, 32, 32), Sizes(3, 100, 1, 32, 32), Sizes(5, 100, 3, 20, 33)]


def _evaluate(recurrence: Recurrence, sizes: Sizes, threads: int) -> dict[str, Tensor]:
    torch.set_num_threads(threads)
    return evaluate(recurrence, draw(recurrence, sizes), draw_flags(sizes), backend="native")


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_the_same_number_of_threads_gives_the_same_bits(recurrence: Recurrence, sizes: Sizes, native: str) -> None:
    for threads in (1, 2, 3):
        first = _evaluate(recurrence, sizes, threads)
        for _ in range(3):
            again = _evaluate(recurrence, sizes, threads)
            assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("sizes", SHAPES, ids=str)
def test_any_number_of_threads_agrees(recurrence: Recurrence, sizes: Sizes, native: str) -> None:
    alone = _evaluate(recurrence, sizes, 1)
    for threads in (2, 3, 7):
        assert largest_error(_evaluate(recurrence, sizes, threads), alone) < 1e-6


@pytest.mark.parametrize(("forward", "backward"), [(1, 8), (8, 1)])
def test_the_backward_follows_the_threads_of_its_forward(forward: int, backward: int, native: str) -> None:
    """One sequence of heads that are taken in groups by one thread, and one by one by eight."""
    sizes = {"batch": 1, "heads": 8, "e": 16, "d": 16}
    assert library.compiled().groups_heads(**sizes, threads=1)
    assert not library.compiled().groups_heads(**sizes, threads=8)
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(1, 40, 8, 16, generator=generator), torch.randn(8, 16, 52, generator=generator) / 4

    def gradients(threads: int) -> tuple[Tensor, ...]:
        torch.set_num_threads(forward)
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y, shift = ops.srwm(*inputs, backend="native")
        torch.set_num_threads(threads)
        return torch.autograd.grad(y.sum() + shift.sum(), inputs)

    for found, wanted in zip(gradients(backward), gradients(forward), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_memory_is_not_left_over_from_before(recurrence: Recurrence, native: str) -> None:
    """Results have the same bits after free memory was filled with NaN: nothing is read that was not written."""
    sizes = Sizes(3, 20, 2, 9, 21)
    wanted = _evaluate(recurrence, sizes, 1)
    for _ in range(3):
        scraps = [torch.full((n,), float("nan")) for n in (64, 500, 4000, 30_000, 200_000) for _ in range(20)]
        del scraps
        found = _evaluate(recurrence, sizes, 1)
        assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, which may take a minute."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


TRAINING_CALL = """
    import os, sys, threading, torch
    from srwm import ops

    def train(threads):
        torch.set_num_threads(threads)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(4, 100, 4, 16, generator=generator).requires_grad_()
        weight = (torch.randn(4, 16, 52, generator=generator) / 4).requires_grad_()
        y, shift = ops.srwm(x, weight, backend="native")
        return [y, shift, *torch.autograd.grad(y.sum() + shift.sum(), [x, weight])]
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/maps")
def test_one_openmp_runtime(native: str) -> None:
    """PyTorch, imported first, brings the runtime that serves the kernels too, and two threads run on it."""
    script = """
    train(2)
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "/" in line}
    runtimes = sorted(p for p in paths if any(name in os.path.basename(p) for name in ("libgomp", "libomp", "libiomp")))
    print(*runtimes)
    """
    done = run_script(TRAINING_CALL + script)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1, done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_hang(native: str) -> None:
    """As a data loader's worker: the parent has used two threads, the child uses one."""
    script = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork with threads
    wanted = [a.detach() for a in train(2)]
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(4, 100, 4, 16, generator=generator)
        weight = torch.randn(4, 16, 52, generator=generator) / 4
        y, _ = ops.srwm(x, weight, backend="native")
        same = torch.allclose(y, wanted[0], rtol=1e-4, atol=1e-5)
        grads = train(1)[2:]
        same = same and all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(grads, wanted[2:]))
        os._exit(0 if same else 1)
    alarm = threading.Timer(30, os.kill, (child, 9))
    alarm.start()
    _, status = os.waitpid(child, 0)
    alarm.cancel()
    sys.exit(os.waitstatus_to_exitcode(status))
    """
    done = run_script(TRAINING_CALL + script)
    assert done.returncode == 0, done.stderr


_ISAS = [] if library.LIBRARY is None else library.LIBRARY.isa_names


@pytest.mark.parametrize("name", [*_ISAS[-1:], *(pytest.param(name, marks=pytest.mark.slow) for name in _ISAS[:-1])])
def test_the_environment_chooses_the_instruction_set(name: str) -> None:
    script = "from srwm.ops.cpu.library import LIBRARY; print(LIBRARY.selected_isa)"
    done = run_script(script, SRWM_ISA=name)
    assert done.stdout.strip() == name, done.stderr


def test_the_environment_names_an_unknown_instruction_set(native: str) -> None:
    done = run_script("import srwm.ops", SRWM_ISA="mmx")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("ValueError: SRWM_ISA: expected one of ")
    assert done.stderr.splitlines()[-1].endswith(", got 'mmx'")


def test_the_best_instruction_set_is_the_default(native: str) -> None:
    assert library.LIBRARY is not None
    assert library.LIBRARY.isa_names[-1] == "baseline"
    done = run_script("from srwm.ops.cpu.library import LIBRARY; print(LIBRARY.selected_isa)", SRWM_ISA="")
    assert done.stdout.strip() == library.LIBRARY.isa_names[0]
