"""Defaults that a user sets for the process change nothing: every tensor is made with a dtype and a device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from srwm.ops import pooling

from .recurrences import Inputs, Recurrence, Sizes, draw, draw_flags


@contextmanager
def defaults(dtype: torch.dtype | None, device: str | None) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype or before)
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)


OTHER = pytest.mark.parametrize(("dtype", "device"), [(torch.float64, None), (None, "meta")])


def assert_unchanged(outputs: Callable[[], list[Tensor]], dtype: torch.dtype | None, device: str | None) -> None:
    wanted = outputs()
    with defaults(dtype, device):
        found = outputs()
    for a, b in zip(found, wanted, strict=True):
        assert (a.dtype, a.device) == (b.dtype, b.device)
        assert torch.equal(a, b)


def outputs_and_derivatives(recurrence: Recurrence, inputs: Inputs, flags: Inputs, backend: str) -> list[Tensor]:
    leaves = {name: a.detach().requires_grad_() for name, a in inputs.items()}
    y, state = recurrence.run(**leaves, **flags, backend=backend)
    grads = torch.autograd.grad(y.square().sum() + state.sum(), list(leaves.values()), create_graph=True)
    second = torch.autograd.grad(grads[0].square().sum(), list(leaves.values()), materialize_grads=True)
    return [y, state, recurrence.query(**inputs), *grads, *second]


@OTHER
def test_recurrences(recurrence: Recurrence, backend: str, dtype: torch.dtype | None, device: str | None) -> None:
    sizes = Sizes(2, 3, 2, 4, 5)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes)
    assert_unchanged(lambda: outputs_and_derivatives(recurrence, inputs, flags, backend), dtype, device)


@OTHER
def test_large_results(recurrence: Recurrence, native: str, dtype: torch.dtype | None, device: str | None) -> None:
    """Of 256 KiB and more, which lie in memory of the package's own."""
    inputs = draw(recurrence, Sizes(8, 150, 4, 16, 16))
    assert_unchanged(lambda: [*recurrence.run(**inputs, backend=native)], dtype, device)


@OTHER
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_pools(dropout: float, dtype: torch.dtype | None, device: str | None, native: str) -> None:
    images = torch.randn(2, 16, 9, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight, bias = torch.ones(16).requires_grad_(), torch.zeros(16).requires_grad_()

    def outputs() -> list[Tensor]:
        torch.manual_seed(0)
        y = pooling.max_pool(images, backend=native)
        z = pooling.norm_pool(y, weight, bias, dropout=dropout, backend=native)
        grads = torch.autograd.grad(z.square().sum(), [images, weight, bias], create_graph=True)
        return [y, z, *grads, *torch.autograd.grad(grads[0].square().sum(), [images, weight])]

    assert_unchanged(outputs, dtype, device)
