"""What a call keeps for backward, and how much memory a training step needs at most."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor

from .recurrences import RECURRENCES, Recurrence, Sizes, draw, draw_flags


def kept_numbers(recurrence: Recurrence, sizes: Sizes, **flags: Tensor) -> float:
    """float32 numbers that the graph of a call holds beside its inputs, for each step of each sequence and head."""
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, sizes).items()}
    kept: dict[int, int] = {}

    def keep(a: Tensor) -> Tensor:
        kept[a.untyped_storage().data_ptr()] = a.untyped_storage().nbytes()
        return a

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda a: a):
        results = recurrence.run(**inputs, **flags, backend="native")
    given = {a.untyped_storage().data_ptr() for a in (*inputs.values(), *flags.values())}
    returned = {a.untyped_storage().data_ptr() for a in results}
    size = sum(size for place, size in kept.items() if place not in given | returned)
    return size / 4 / (sizes.batch * sizes.heads * sizes.steps)


@pytest.mark.parametrize(("e", "d"), [(16, 16), (17, 40), (64, 64), (128, 128), (16, 100)])
@pytest.mark.parametrize("steps", [100, 600, 2400])
def test_srwm_keeps_a_row_for_each_step(e: int, d: int, steps: int, native: str) -> None:
    """M + 2E numbers, rows padded to whole vectors and copies of W (M / 4) included; a matrix would be M E."""
    columns = d + 2 * e + 4
    kept = kept_numbers(RECURRENCES["srwm"], Sizes(1, steps, 2, e, d))
    assert columns + 2 * e <= kept <= 1.3 * (columns + 2 * e) + 48


def test_resets_keep_nothing_more(recurrence: Recurrence, native: str) -> None:
    sizes = Sizes(2, 600, 2, 16, 16)
    everywhere = draw_flags(sizes, resets=1.0)["resets"]
    assert everywhere.all()
    assert kept_numbers(recurrence, sizes, resets=everywhere) == kept_numbers(recurrence, sizes)


def test_fast_weights_keep_less(native: str) -> None:
    """The delta rule keeps what it found wrong at each step, D numbers; linear attention its inputs alone."""
    sizes = Sizes(2, 500, 3, 32, 48)
    assert kept_numbers(RECURRENCES["delta_rule"], sizes) == 48
    assert kept_numbers(RECURRENCES["linear_attention"], sizes) == 0
    assert kept_numbers(RECURRENCES["delta_rule_decay"], sizes) == 48
    assert kept_numbers(RECURRENCES["linear_attention_decay"], sizes) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.slow
def test_peak_of_a_training_step(native: str) -> None:
    """Forward and backward at (4, 1024, 8, 64): under three times what is kept; with resets everywhere at most 1.2 times it."""
    script = """
    import torch
    from srwm import ops
    torch.set_num_threads(2)

    def memory(name):
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))

    def peak_of_training(x, weight, resets):
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")  # reset the peak
        before = memory("VmRSS")
        y, shift = ops.srwm(x, weight, resets=resets, backend="native")
        torch.autograd.grad((y, shift), [x, weight], (torch.ones_like(y), torch.ones_like(shift)))
        return memory("VmHWM") - before

    weight = (torch.randn(8, 64, 196) / 8).requires_grad_()
    everywhere = torch.ones(4, 1024, dtype=torch.bool)
    x = torch.randn(4, 1024, 8, 64).requires_grad_()
    for resets in (None, everywhere):
        peak_of_training(x[:, :2].detach().requires_grad_(), weight, None if resets is None else resets[:, :2])
    print(peak_of_training(x, weight, None), peak_of_training(x, weight, everywhere))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=os.environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    plain, with_resets = map(float, done.stdout.split())
    kept = 4 * 1024 * 8 * (196 + 2 * 64) * 4 / 2**20
    assert kept < plain < 3 * kept
    assert with_resets <= 1.2 * plain
