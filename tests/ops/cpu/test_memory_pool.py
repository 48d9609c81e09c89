"""Large results lie in memory that is used again, but never while a tensor still lies in it."""

import mmap

import pytest
import torch

from srwm import ops
from srwm.ops.cpu.memory_pool import Pool

LARGE = (2**10, 2**10)  # 4 MiB

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MAP_PRIVATE"), reason="there is no pool on this system")


def test_memory_comes_back() -> None:
    pool = Pool(limit=2**26)
    first = pool.empty(LARGE)
    place = first.data_ptr()
    del first
    assert pool.empty(LARGE).data_ptr() == place


def test_a_view_keeps_its_memory() -> None:
    pool = Pool(limit=2**26)
    view = pool.empty(LARGE).fill_(1.0)[3:5]
    for _ in range(3):
        assert not pool.empty(LARGE).zero_().any()
    assert (view == 1.0).all()


def test_living_tensors_lie_apart() -> None:
    pool = Pool(limit=2**26)
    tensors = [pool.empty((steps, 2**10)).fill_(steps) for steps in (300, 900, 1000, 300, 1000)]
    assert all((a == len(a)).all() for a in tensors)


def test_no_more_waits_than_the_limit() -> None:
    pool = Pool(limit=2**23)
    tensors = [pool.empty(LARGE) for _ in range(5)]
    del tensors
    assert sum(map(len, pool._free)) <= 2**23


def test_little_is_not_pooled() -> None:
    pool = Pool(limit=2**23)
    a = pool.empty((10, 10))
    del a
    assert not pool._free


@pytest.mark.parametrize("steps", [4, 4000])
def test_results_can_be_changed_in_place(native: str, steps: int) -> None:
    x, weight = torch.randn(2, steps, 4, 16), (torch.randn(4, 16, 52) / 16).requires_grad_()
    y, _ = ops.srwm(x, weight, backend=native)
    doubled = y.detach() * 2
    assert torch.equal(y.mul_(2), doubled)
    assert torch.autograd.grad(y.sum(), weight)[0].isfinite().all()


@pytest.mark.parametrize("steps", [4, 4000])
def test_large_results_shrink_in_place_but_do_not_grow(native: str, steps: int) -> None:
    """Memory of 256 KiB and more is the package's own, which PyTorch cannot enlarge: an error says so, and a copy can grow."""
    y, _ = ops.srwm(torch.randn(2, steps, 4, 16), torch.randn(4, 16, 52) / 4, backend=native)
    wanted = y[:1].clone()
    assert torch.equal(y.resize_(1, steps, 4, 16), wanted)
    assert y.clone().resize_(3, steps, 4, 16).shape[0] == 3
    if steps == 4:
        assert y.resize_(3, steps, 4, 16).shape[0] == 3
    else:
        with pytest.raises(RuntimeError, match="resize storage that is not resizable"):
            y.resize_(3, steps, 4, 16)


def test_results_outlive_later_calls(native: str) -> None:
    """Outputs, and gradients through calls whose backward comes late."""
    x, weight = torch.randn(8, 200, 4, 16), (torch.randn(4, 16, 52) / 4).requires_grad_()
    y, shift = ops.srwm(x, weight, backend=native)
    before = y.detach().clone(), shift.detach().clone()
    (wanted,) = torch.autograd.grad(y.sum(), weight, retain_graph=True)
    for _ in range(3):
        other, _ = ops.srwm(2 * x, weight, backend=native)
        torch.autograd.grad(other.sum(), weight)
    assert torch.equal(y, before[0])
    assert torch.equal(shift, before[1])
    assert torch.equal(torch.autograd.grad(y.sum(), weight)[0], wanted)
