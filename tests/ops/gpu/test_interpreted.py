"""The Triton kernels, interpreted on the CPU, against the float64 reference by the criterion of the CPU's kernels."""

import pytest
import torch

from srwm.ops.self_referential import cuda, outputs

from ..conftest import ReportErrors
from ..exactness import compare
from ..exactness_cases import Case, inputs_of, reference
from ..recurrences import RECURRENCES, Recurrence, Sizes, draw, draw_flags, evaluate, largest_error
from .kernels import KERNELS

pytestmark = pytest.mark.usefixtures("interpreter")

KINDS = ("fresh", "carried", "resets", "ragged")
CASES = [Case(Sizes(2, 11, 1, e, d), kind) for e, d in ((3, 9), (16, 16), (17, 5)) for kind in KINDS]
CASES += [Case(Sizes(1, 5, 1, 32, 32), "ragged"), Case(Sizes(1, 3, 1, 64, 64), "resets"), Case(Sizes(2, 1, 2, 1, 1), "fresh")]
FAST_WEIGHTS = [name for name in KERNELS if name != "srwm"]
NARROW = [Case(Sizes(2, 11, 1, e, d), kind) for (e, d), kind in zip(((3, 9), (16, 16), (17, 5), (5, 40)), KINDS, strict=True)]


@pytest.fixture
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "checkpoint_interval", lambda e: 4)


@pytest.mark.usefixtures("short_interval")
@pytest.mark.parametrize(
    ("name", "case"), [("srwm", case) for case in CASES] + [(name, case) for name in FAST_WEIGHTS for case in NARROW]
)
def test_exact(name: str, case: Case, report_errors: ReportErrors) -> None:
    found = evaluate(KERNELS[name], *inputs_of(name, case), backend="triton")
    exact, loop = (reference(name, case, dtype) for dtype in (torch.float64, torch.float32))
    errors = compare(found, loop, exact, steps=case.sizes.steps)
    report_errors(f"{name} interpreted", errors)
    assert all(error.holds for error in errors), "\n".join(str(e) for e in errors if not e.holds)


@pytest.mark.usefixtures("short_interval")
@pytest.mark.parametrize("read", ["y", "state"])
@pytest.mark.parametrize("with_flags", [False, True])
@pytest.mark.parametrize("name", ["srwm", "delta_rule_decay", "linear_attention"])
def test_a_loss_on_one_result(name: str, with_flags: bool, read: str) -> None:
    """Of the outputs alone, or of the state alone, the other's gradient is None."""
    recurrence, sizes = KERNELS[name], Sizes(2, 9, 1, 4, 5)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes, resets=0.3) if with_flags else {}

    def gradients(of: Recurrence, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        leaves = {key: a.to(dtype).requires_grad_() for key, a in inputs.items()}
        y, state = of.run(**leaves, **flags, backend="reference")
        loss = y.square().sum() if read == "y" else state.square().sum()
        grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, grads, strict=True))

    wanted = gradients(RECURRENCES[name], torch.float64)
    assert largest_error(gradients(recurrence, torch.float32), wanted) < 2e-6


@pytest.mark.parametrize("with_flags", [False, True])
def test_inference_is_training(with_flags: bool) -> None:
    recurrence, sizes = KERNELS["srwm"], Sizes(2, 6, 1, 4, 4)
    inputs, flags = draw(recurrence, sizes), draw_flags(sizes) if with_flags else {"resets": None, "mask": None}
    results = cuda.inference(**inputs, **flags)
    for a, b in zip(results, cuda.training(**inputs, **flags)[:2], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("sizes", [Sizes(0, 3, 2, 3, 3), Sizes(2, 0, 2, 3, 3), Sizes(2, 3, 0, 3, 3)], ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_sizes_of_zero(name: str, sizes: Sizes) -> None:
    recurrence = KERNELS[name]
    found = evaluate(recurrence, draw(recurrence, sizes), {}, backend="triton")
    wanted = evaluate(RECURRENCES[name], draw(recurrence, sizes), {}, backend="reference")
    for key, a in wanted.items():
        assert torch.equal(found[key], a), key
