"""The 3x3 max-pool of stride 2, against PyTorch's."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from srwm.ops import pooling
from srwm.ops.cpu import library
from srwm.ops.pooling import functions
from srwm.vision import ImpalaResNet

from ..conftest import NATIVE_MISSING

pytestmark = NATIVE_MISSING
SHAPES = [(3, 16, 8, 8), (2, 32, 7, 9), (1, 48, 1, 1), (2, 16, 1, 6), (2, 16, 2, 3)]
DTYPES = [torch.float32, torch.bfloat16]


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Images with many equal pixels."""
    images = torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return images.contiguous(memory_format=torch.channels_last)


def max_pool(images: Tensor) -> Tensor:
    return pooling.max_pool(images, backend="native")


def plainly(images: Tensor) -> Tensor:
    return functional.max_pool2d(images, 3, 2, 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_gradients(shape: tuple[int, ...], dtype: torch.dtype, isa: str) -> None:
    """The same windows, and of equal pixels the same one; gradients are whole numbers, exact in every order of adding."""
    images = draw(shape, dtype).requires_grad_()
    found, wanted = max_pool(images), plainly(images)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, wanted)
    cotangent = torch.randint(-9, 10, found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    grads = [torch.autograd.grad(y, images, cotangent)[0] for y in (found, wanted)]
    assert torch.equal(*grads)
    with torch.no_grad():
        assert torch.equal(max_pool(images), wanted)


def test_overlapping_gradients_are_rounded_once(isa: str) -> None:
    """One pixel is the largest of four windows: its gradient is the sum of theirs in float32."""
    images = torch.zeros(1, 16, 5, 5, dtype=torch.bfloat16)
    images[:, :, 1, 1] = 1.0
    images.requires_grad_()
    cotangent = 1 + torch.rand(1, 16, 3, 3, generator=torch.Generator().manual_seed(1)).bfloat16()
    (grad,) = torch.autograd.grad(max_pool(images), images, cotangent)
    exact = cotangent.double()[:, :, :2, :2].sum((2, 3))
    assert ((grad[:, :, 1, 1].double() - exact).abs() <= torch.finfo(torch.bfloat16).eps / 2 * exact * 1.01).all()


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_no_finite_number(value: float, everywhere: bool, dtype: torch.dtype, isa: str) -> None:
    images = draw((2, 16, 6, 5), dtype)
    images[1, 3:5] = value if everywhere else images[1, 3:5]
    images[1, 3:5, 2, 3] = value
    images.requires_grad_()
    found, wanted = max_pool(images), plainly(images)
    assert torch.equal(found.nan_to_num(123.0), wanted.nan_to_num(123.0))
    ones = torch.ones_like(found)
    grads = [torch.autograd.grad(y, images, ones)[0] for y in (found, wanted)]
    spoilt = images.isnan()  # of several that are no number in a window, which gets the gradient is open
    assert torch.equal(grads[0][~spoilt], grads[1][~spoilt])
    assert grads[0][spoilt].sum() == grads[1][spoilt].sum()
    ones[1, 3:5, 1, 1] = value
    grads = [torch.autograd.grad(y, images, ones)[0].isfinite() for y in (max_pool(images), plainly(images))]
    assert torch.equal(grads[0][~spoilt], grads[1][~spoilt])


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_of_both_signs(dtype: torch.dtype, isa: str) -> None:
    images = torch.full((1, 16, 2, 2), -0.0, dtype=dtype)
    images[:, :, 1, 1] = 0.0
    images.requires_grad_()
    y = max_pool(images)
    assert not y.signbit().any()
    (grad,) = torch.autograd.grad(y.sum(), images)
    assert torch.equal(grad[0, 0], torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=dtype))


def test_dense_images_of_the_other_order_and_strided_gradients() -> None:
    images = draw((3, 16, 6, 6))
    assert torch.equal(max_pool(images.contiguous()), plainly(images))
    images.requires_grad_()
    y = max_pool(images)
    (expanded,) = torch.autograd.grad(y.sum(), images, retain_graph=True)  # by a gradient with strides of 0
    (dense,) = torch.autograd.grad(y, images, torch.ones_like(y))
    assert torch.equal(expanded, dense)


def test_what_is_kept_may_come_back_in_another_layout() -> None:
    """As from hooks that store it elsewhere."""
    images = draw((2, 16, 5, 6)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda a: a.contiguous(), lambda a: a):
        y = max_pool(images)
    assert torch.equal(*(torch.autograd.grad(a.square().sum(), images)[0] for a in (y, plainly(images))))


@pytest.mark.parametrize("size", [6, 100])
def test_results_can_be_changed_in_place(size: int) -> None:
    images = draw((2, 16, size, size)).requires_grad_()
    found, wanted = (pool(images).clamp_(max=2.0).mul_(3) for pool in (max_pool, plainly))
    assert torch.equal(found, wanted)
    assert torch.equal(*(torch.autograd.grad(a.sum(), images)[0] for a in (found, wanted)))


def test_threads_share_the_images() -> None:
    images = draw((40, 32, 20, 20)).requires_grad_()
    torch.set_num_threads(2)
    found, wanted = max_pool(images), plainly(images)
    assert torch.equal(found, wanted)
    cotangent = torch.randint(-9, 10, found.shape, generator=torch.Generator().manual_seed(1)).float()
    assert torch.equal(*(torch.autograd.grad(y, images, cotangent)[0] for y in (found, wanted)))


def test_second_derivatives() -> None:
    images = torch.randn(2, 16, 5, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def second(y: Tensor) -> Tensor:
        (grad,) = torch.autograd.grad((y**3).sum(), images, create_graph=True)
        return torch.autograd.grad((grad**2).sum(), images)[0]

    torch.testing.assert_close(second(max_pool(images)), second(plainly(images)))
    small = images[:1, :, :3, :2].detach()
    hessians = [
        torch.autograd.functional.hessian(lambda a, p=pool: (p(a) ** 3).sum(), small, vectorize=vectorize)
        for pool, vectorize in ((max_pool, True), (plainly, False))
    ]
    torch.testing.assert_close(*hessians)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("asking", [False, True])
def test_operators_are_registered_correctly(dtype: torch.dtype, asking: bool) -> None:
    images = draw((2, 16, 4, 5), dtype).requires_grad_(asking)
    torch.library.opcheck(torch.ops.srwm.max_pool_training.default, (images,))
    y, places = torch.ops.srwm.max_pool_training(images.detach())
    torch.library.opcheck(torch.ops.srwm.max_pool_backward.default, (torch.ones_like(y).requires_grad_(asking), places, 4, 5))
    torch.library.opcheck(torch.ops.srwm.max_pool_inference.default, (images.detach(),))


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 8, 4, 4),
        torch.zeros(0, 16, 4, 4),
        torch.zeros(2, 16, 4, 0),
        torch.zeros(16, 4, 4),
        torch.zeros(2, 16, 4, 4, dtype=torch.float64),
        torch.zeros(2, 16, 4, 4, device="meta"),
        torch.zeros(2, 16, 4, 4).to_sparse(),
    ],
    ids=str,
)
def test_what_the_kernels_do_not_take(images: Tensor) -> None:
    with pytest.raises(ValueError, match="images: expected float32 or bfloat16"):
        max_pool(images)


def test_what_the_kernels_do_not_take_goes_by_pytorch() -> None:
    for images in (draw((2, 8, 5, 5)), draw((2, 16, 5, 5)).double(), draw((2, 16, 5, 5))[0]):
        assert torch.equal(pooling.max_pool(images), plainly(images))
    with pytest.raises(ValueError, match=r"^backend: expected one of auto, reference, native, got 'fast'$"):
        pooling.max_pool(draw((2, 16, 5, 5)), backend="fast")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of PyTorch's own forward-mode decompositions
def test_transforms_go_by_pytorch() -> None:
    """Forward-mode derivatives and torch.func, which native operators know nothing of."""
    images, stem = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0)), ImpalaResNet((16,))
    parameters = dict(stem.named_parameters())

    def loss(given: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(stem, given, images).square().sum()

    grads = torch.func.grad(loss)(parameters)
    wanted = torch.autograd.grad(loss(parameters), list(parameters.values()))
    for name, grad in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(grads[name], grad, rtol=1e-4, atol=1e-5)
    _, slope = torch.func.jvp(loss, (parameters,), ({name: torch.ones_like(a) for name, a in parameters.items()},))
    torch.testing.assert_close(slope, sum(grad.sum() for grad in wanted), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_tracers_see_pytorchs_pool() -> None:
    images, stem = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0)), ImpalaResNet((16,)).eval()
    with torch.no_grad():
        wanted = stem(images)
        traced = torch.jit.trace(stem, images)
        assert "srwm::" not in str(traced.inlined_graph)
        torch.testing.assert_close(traced(images), wanted)
        graphs = []
        compiled = torch.compile(stem, backend=lambda graph, _: graphs.append(str(graph.graph)) or graph, fullgraph=True)
        torch.testing.assert_close(compiled(images), wanted)
    assert len(graphs) == 1
    assert "srwm" not in graphs[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_impala_stem_learns_as_with_pytorch_alone(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    stem = ImpalaResNet((16, 32))
    found = []
    for native in (True, False):
        taken = []
        chosen = functions.takes_kernels
        with monkeypatch.context() as patch:
            patch.setattr(
                functions, "takes_kernels", lambda *given, n=native, t=taken, c=chosen: t.append(n and c(*given)) or t[-1]
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                features = stem(images)
        assert taken == 2 * [native]
        found.append((features, *torch.autograd.grad(features.float().square().sum(), list(stem.parameters()))))
    for a, b in zip(*found, strict=True):
        assert (a - b).norm() <= (1e-5 if dtype == torch.float32 else 2e-2) * b.norm()


def test_without_the_library_there_is_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", None)
    assert ImpalaResNet((16,))(torch.zeros(2, 3, 8, 8)).shape == (2, 16 * 4 * 4)
    with pytest.raises(RuntimeError, match="compiled library"):
        pooling.max_pool(torch.zeros(2, 16, 4, 4), backend="native")
