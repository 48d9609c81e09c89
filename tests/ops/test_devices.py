"""What operators leave to the device: fakes on a device without the C++ library, and second derivatives under autocast."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from srwm.ops.cpu import library
from srwm.ops.self_referential import outputs

from .recurrences import RECURRENCES, Sizes, draw


def test_fakes_of_another_device_do_not_ask_the_library_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", None)
    steps = 1 + 2 * outputs.checkpoint_interval(4)
    with FakeTensorMode():
        x, weight = torch.empty(2, steps, 3, 4, device="cuda"), torch.empty(3, 4, 17, device="cuda")
        y, state, saved, copies = torch.ops.srwm.self_referential_training(x, weight, None, None, None)
    assert (y.shape, state.shape) == ((2, steps, 3, 5), (2, 3, 4, 17))
    assert (saved.shape, copies.shape) == ((2, steps, 3, 29), (2, 3, 2, 4, 17))
    assert {a.device.type for a in (y, state, saved, copies)} == {"cuda"}


def test_a_second_derivative_is_not_autocast(native: str) -> None:
    """Under autocast it is in float32, bit for bit."""
    recurrence = RECURRENCES["srwm"]
    inputs = {name: a.requires_grad_() for name, a in draw(recurrence, Sizes(1, 3, 1, 3, 3)).items()}

    def second() -> tuple[torch.Tensor, ...]:
        y, _ = recurrence.run(**inputs, backend=native)
        (grad,) = torch.autograd.grad(y.square().sum(), [inputs["x"]], create_graph=True)
        return torch.autograd.grad(grad.square().sum(), list(inputs.values()))

    wanted = second()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = second()
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)
