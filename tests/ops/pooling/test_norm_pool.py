"""Normalization, pool, dropout and ReLU in one, against PyTorch's four operations."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from srwm.ops import pooling
from srwm.ops.cpu import library
from srwm.ops.operators import OPERATORS
from srwm.ops.pooling import functions
from srwm.vision import Conv4

from ..conftest import NATIVE_MISSING

pytestmark = NATIVE_MISSING
SHAPES = [(5, 16, 6, 8), (3, 32, 21, 21), (2, 64, 7, 10), (4, 48, 2, 3), (1, 16, 5, 2)]


def draw(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, *, offset: float = 3.0) -> tuple[Tensor, nn.BatchNorm2d]:
    """Images far from zero mean, and a norm with weights of both signs."""
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(shape[1])
    with torch.no_grad():
        norm.weight.copy_(torch.randn(shape[1], generator=generator))
        norm.bias.copy_(torch.randn(shape[1], generator=generator))
    images = 2 * torch.randn(shape, generator=generator) + offset
    return images.to(dtype).contiguous(memory_format=torch.channels_last), norm


def norm_pool(images: Tensor, weight: Tensor, bias: Tensor, eps: float, dropout: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """The output of the kernels, and the mean and variance of the images."""
    mean, variance = torch.zeros(2, *images.shape[1:2])
    y = pooling.norm_pool(images, weight, bias, mean, variance, momentum=1.0, eps=eps, dropout=dropout, backend="native")
    count = images.numel() // images.shape[1]
    return y, mean, variance * (count - 1) / count


def plainly(images: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return nn.functional.max_pool2d(norm(images), 2).relu()


def error(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm().clamp(min=1e-9))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients(shape: tuple[int, ...], dtype: torch.dtype, isa: str) -> None:
    images, norm = draw(shape, dtype)
    exact_norm, exact_images = copy.deepcopy(norm).double(), images.double().requires_grad_()
    exact = plainly(exact_images, exact_norm)
    cotangent = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    exact.backward(cotangent.double())

    images.requires_grad_()
    y, mean, variance = norm_pool(images, norm.weight, norm.bias, norm.eps)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.backward(cotangent)
    bound = 1e-6 if dtype == torch.float32 else 4e-3  # a bfloat16 has a relative error of up to 2e-3
    assert error(y, exact) < bound
    assert error(images.grad, exact_images.grad) < bound
    for found, wanted in [
        (norm.weight.grad, exact_norm.weight.grad),
        (norm.bias.grad, exact_norm.bias.grad),
        (mean, exact_images.detach().mean((0, 2, 3))),
        (variance, exact_images.detach().var((0, 2, 3), unbiased=False)),
    ]:
        assert error(found, wanted) < 1e-5


def test_statistics_of_images_far_from_zero() -> None:
    """The mean is a thousand deviations away: a variance from the mean of squares would have lost all its digits."""
    images, norm = draw((4, 16, 20, 20), offset=2000.0)
    _, mean, variance = norm_pool(images, norm.weight, norm.bias, norm.eps)
    assert error(mean, images.double().mean((0, 2, 3))) < 1e-7
    assert error(variance, images.double().var((0, 2, 3), unbiased=False)) < 1e-5


def test_dense_images_of_the_other_order_and_strided_gradients() -> None:
    images, norm = draw((3, 16, 6, 6))
    y, *_ = norm_pool(images.contiguous(), norm.weight, norm.bias, norm.eps)
    assert torch.equal(y, norm_pool(images, norm.weight, norm.bias, norm.eps)[0])
    images.requires_grad_()
    y, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    (expanded,) = torch.autograd.grad(y.sum(), images, retain_graph=True)  # by a gradient with strides of 0
    (dense,) = torch.autograd.grad(y, images, torch.ones_like(y))
    assert torch.equal(expanded, dense)


def test_what_is_kept_may_come_back_in_another_layout() -> None:
    """As from hooks that store it elsewhere."""
    images, norm = draw((2, 16, 5, 6))
    images.requires_grad_()
    wanted, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    with torch.autograd.graph.saved_tensors_hooks(lambda a: a.contiguous(), lambda a: a):
        found, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    assert torch.equal(*(torch.autograd.grad(y.square().sum(), images)[0] for y in (found, wanted)))


@pytest.mark.parametrize("size", [6, 100])
def test_results_can_be_changed_in_place(size: int) -> None:
    images, norm = draw((2, 16, size, size))
    wanted, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    found = norm_pool(images.requires_grad_(), norm.weight, norm.bias, norm.eps)[0].mul_(3)
    assert torch.equal(found, 3 * wanted)


def test_threads_share_the_images() -> None:
    images, norm = draw((40, 32, 20, 20))
    one, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    torch.set_num_threads(2)
    again = [norm_pool(images, norm.weight, norm.bias, norm.eps)[0] for _ in range(2)]
    assert torch.equal(*again)
    assert error(one, again[0]) < 1e-6


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_dropout(dropout: float, isa: str) -> None:
    images, norm = draw((30, 32, 20, 20))
    nn.init.constant_(norm.bias, 100.0)  # so that ReLU lets everything through
    images.requires_grad_()
    torch.manual_seed(0)
    y, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps, dropout)
    whole, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    dropped = y == 0
    tolerance = 4 * math.sqrt(dropout * (1 - dropout) / y.numel())
    assert abs(float(dropped.double().mean()) - dropout) < tolerance
    for axis, width in ((0, 30), (1, 32), (2, 10), (3, 10)):  # no image, channel, row or column has much more of it
        shares = dropped.double().mean([i for i in range(4) if i != axis])
        assert (shares - dropout).abs().max() < 1.2 * tolerance * math.sqrt(width)
    assert torch.allclose(y, whole / (1 - dropout) * ~dropped, rtol=1e-5)

    torch.manual_seed(0)
    assert torch.equal(norm_pool(images, norm.weight, norm.bias, norm.eps, dropout)[0], y)
    assert not torch.equal(norm_pool(images, norm.weight, norm.bias, norm.eps, dropout)[0], y)

    found = torch.autograd.grad((y**2).sum(), [images, norm.weight, norm.bias])
    exact, exact_norm = images.detach().double().requires_grad_(), copy.deepcopy(norm).double()  # in float32 there are ties
    thinned = plainly(exact, exact_norm) * ~dropped / (1 - dropout)
    wanted = torch.autograd.grad((thinned**2).sum(), [exact, exact_norm.weight, exact_norm.bias])
    assert all(error(a, b) < 1e-5 for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(2, 2), (4, 1)])
def test_a_pixel_that_is_no_number_is_seen(value: float, place: tuple[int, int]) -> None:
    """In a window of the pool, or in the last row, which is in none: statistics and outputs of its channel are NaN."""
    images, norm = draw((2, 16, 5, 4))
    images[1, 3:5, place[0], place[1]] = value
    with torch.no_grad():
        norm.weight[3], norm.weight[4] = 1.0, -1.0
    y, mean, variance = norm_pool(images, norm.weight, norm.bias, norm.eps)
    spoilt = (torch.arange(16) == 3) | (torch.arange(16) == 4)
    for each in (y.isnan().all(3).all(2).all(0), ~mean.isfinite(), variance.isnan()):
        assert torch.equal(each, spoilt)
    assert torch.equal(y.isnan(), plainly(images, norm).isnan())


def test_weights_of_zero_have_pytorchs_gradient() -> None:
    """All four pixels of a window are equal then: the first gets the gradient."""
    images, norm = draw((3, 16, 6, 6))
    nn.init.constant_(norm.bias, 1.0)
    for zero in (0.0, -0.0):
        nn.init.constant_(norm.weight, zero)
        y, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
        cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        (found,) = torch.autograd.grad(y, norm.weight, cotangent)
        (wanted,) = torch.autograd.grad(plainly(images, norm), norm.weight, cotangent)
        assert error(found, wanted) < 1e-5


def test_gradients_by_two_threads() -> None:
    images, norm = draw((40, 32, 20, 20))
    images.requires_grad_()
    found = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        y, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
        found.append(torch.autograd.grad((y**2).sum(), [images, norm.weight, norm.bias]))
    for one, two, again in zip(*found, strict=True):
        assert error(two, one) < 1e-6
        assert torch.equal(two, again)


def test_seeds_next_to_each_other_have_nothing_in_common() -> None:
    images, norm = draw((40, 16, 20, 20))
    nn.init.constant_(norm.bias, 100.0)

    def kept(seed: int) -> Tensor:
        y, *_ = torch.ops.srwm.norm_pool_training(images, norm.weight, norm.bias, norm.eps, 0.5, seed)
        return (y.permute(0, 2, 3, 1).flatten() > 0).double()

    first = kept(7)
    for seed in (8, 7 + 64, 7 + 2**32, 7 + 2**33):
        other = kept(seed)
        for shift in (0, 1, 64):
            correlation = torch.corrcoef(torch.stack([first[64:], other[64 - shift : len(other) - shift]]))[0, 1]
            assert abs(float(correlation)) < 4 / math.sqrt(len(first))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bfloat16_keeps_infinity_and_nothing_overflows_into_it(dtype: torch.dtype) -> None:
    images, norm = draw((2, 16, 4, 4), dtype)
    nn.init.constant_(norm.bias, 1e38)
    y, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    assert y.isfinite().all()
    nn.init.constant_(norm.bias, math.inf)
    y, *_ = norm_pool(images, norm.weight, norm.bias, norm.eps)
    assert (y == math.inf).all()


def test_second_derivatives() -> None:
    images, norm = draw((2, 16, 4, 5))
    images.requires_grad_()

    def second(y: Tensor) -> tuple[Tensor, ...]:
        leaves = (images, norm.weight, norm.bias)
        grads = torch.autograd.grad((y**3).sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in grads), leaves)

    found = second(norm_pool(images, norm.weight, norm.bias, norm.eps)[0])
    for a, b in zip(found, second(plainly(images, norm)), strict=True):
        assert error(a, b) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("asking", [False, True])
def test_operators_are_registered_correctly(dtype: torch.dtype, asking: bool) -> None:
    images, norm = draw((2, 16, 4, 5), dtype)
    weight, bias = norm.weight.detach().requires_grad_(asking), norm.bias.detach().requires_grad_(asking)
    images.requires_grad_(asking)
    forward = (images, weight, bias, norm.eps, 0.0, 0)
    torch.library.opcheck(torch.ops.srwm.norm_pool_training.default, forward)
    y, mean, variance, largest, places = torch.ops.srwm.norm_pool_training(*forward)
    grad_y = torch.ones_like(y).requires_grad_(asking)
    statistics = (largest.detach(), places, mean.detach(), variance.detach())
    backward = (grad_y, images, weight, *statistics, norm.eps, 0.0)
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    torch.library.opcheck(torch.ops.srwm.norm_pool_backward.default, backward, test_utils=tests)
    assert {"norm_pool_training", "norm_pool_backward"} <= {name.split("::")[1].split(".")[0] for name in OPERATORS._op_defs}


@pytest.mark.parametrize(
    ("images", "taken"),
    [
        (torch.zeros(2, 16, 4, 4), True),
        (torch.zeros(2, 16, 4, 4, dtype=torch.bfloat16), True),
        (torch.zeros(2, 8, 4, 4), False),
        (torch.zeros(2, 16, 1, 4), False),
        (torch.zeros(0, 16, 4, 4), False),
        (torch.zeros(2, 16, 4, 4, dtype=torch.float64), False),
        (torch.zeros(2, 16, 4, 4, device="meta"), False),
    ],
)
def test_what_the_kernels_take(images: Tensor, taken: bool) -> None:
    ones = torch.ones(images.shape[1])
    if taken:
        norm_pool(images, ones, ones, 1e-5)
    for weight, bias, dropout in [
        (ones.bfloat16(), ones, 0.0),
        (ones, ones.double(), 0.0),
        (ones[:1], ones, 0.0),
        (ones, ones, 1.0),
    ]:
        with pytest.raises(ValueError, match="images, weight, bias: expected"):
            norm_pool(images, weight, bias, 1e-5, dropout)
    if not taken:
        with pytest.raises(ValueError, match="images, weight, bias: expected"):
            norm_pool(images, ones, ones, 1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of PyTorch's own forward-mode decompositions
def test_transforms_go_by_pytorch() -> None:
    """Forward-mode derivatives and torch.func, which native operators know nothing of."""
    images, _ = draw((2, 16, 6, 6))
    stem = Conv4(16, 16)
    stage, parameters = stem.layers[0], dict(stem.layers[0].named_parameters())
    buffers = {name: buffer.clone() for name, buffer in stage.named_buffers()}

    def loss(given: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(stage, (given, {n: b.clone() for n, b in buffers.items()}), images).square().sum()

    grads = torch.func.grad(loss)(parameters)
    wanted = torch.autograd.grad(loss(parameters), list(parameters.values()))
    for name, grad in zip(parameters, wanted, strict=True):
        assert name == "0.bias" or error(grads[name], grad) < 1e-4  # which the normalization takes away again
    direction = {name: torch.ones_like(a) for name, a in parameters.items()}
    _, slope = torch.func.jvp(loss, (parameters,), (direction,))
    assert error(slope, sum(grad.sum() for grad in wanted)) < 1e-3


def test_a_changed_stage_goes_by_its_parts() -> None:
    """Whoever replaces a part, or hangs a hook on it, gets what PyTorch's containers promise."""
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def stage(seed: int = 0) -> nn.Sequential:
        torch.manual_seed(seed)
        return Conv4(16, 3).layers[0]

    assert len(stage()[:2]) == 2
    assert (stage()[:2](images) < 0).any(), "no ReLU"
    leaky = stage()
    leaky[4] = nn.LeakyReLU(0.5)
    assert (leaky(images) < 0).any()
    wide = stage()
    wide[2] = nn.MaxPool2d(4)
    assert wide(images).shape == (4, 16, 4, 4)
    without = stage()
    without[3] = nn.Identity()
    assert error(without(images), stage()(images)) < 1e-5
    plain = stage()
    plain[1] = nn.BatchNorm2d(16, affine=False)
    assert error(plain(images), stage()(images)) < 1e-5
    still = stage()
    still[1].track_running_stats = False
    still(images)
    assert torch.equal(still[1].running_mean, torch.zeros(16))
    assert still[1].num_batches_tracked == 0


@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward", "full_backward_pre"])
def test_a_hook_on_a_part_is_called(kind: str, part: int) -> None:
    stage, seen = Conv4(16, 3).layers[0], []
    getattr(stage[part], f"register_{kind}_hook")(lambda *_: seen.append(kind))
    images = torch.rand(4, 3, 16, 16, requires_grad=True)
    torch.autograd.grad(stage(images).sum(), images)
    assert seen == [kind]


def test_a_cumulative_average_of_statistics() -> None:
    both = [Conv4(16, 3).layers[0] for _ in range(2)]
    both[1].load_state_dict(both[0].state_dict())
    both[1][4] = nn.Hardtanh(0.0, math.inf)  # a ReLU that goes by PyTorch's operations
    for stage in both:
        stage[1].momentum = None
    for step in range(3):
        images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(step))
        assert error(*(stage(images) for stage in both)) < 1e-5
    for a, b in zip(both[0].buffers(), both[1].buffers(), strict=True):
        assert error(a, b) < 1e-5


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_conv4_trains_as_it_would_with_pytorch_alone(precision: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features, gradients and the statistics for evaluation, by the kernels and by PyTorch's operations."""
    images = torch.rand(6, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    stem = Conv4(32, 3)
    with torch.no_grad():
        for _, norm, *_ in stem.layers:
            norm.weight.uniform_(-1, 1)
    plain = copy.deepcopy(stem)
    features = []
    for each, taken in ((stem, True), (plain, False)):
        seen = []
        chosen = functions.takes_kernels
        with monkeypatch.context() as patch:
            patch.setattr(
                functions, "takes_kernels", lambda *given, t=taken, s=seen, c=chosen: s.append(t and c(*given)) or s[-1]
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                features.append(each(images))
        assert seen == 4 * [taken]
        features[-1].float().square().sum().backward()
    bound = 1e-5 if precision == torch.float32 else 5e-2
    assert error(*features) < bound
    for (name, a), b in zip(stem.named_parameters(), plain.parameters(), strict=True):
        if not (name.endswith("0.bias")):  # which the normalization takes away again: nothing but rounding
            assert error(a.grad, b.grad) < 3 * bound, name
    for (name, a), b in zip(stem.named_buffers(), plain.buffers(), strict=True):
        assert error(a, b) < bound, name
    assert torch.equal(stem.layers[0][1].num_batches_tracked, torch.tensor(1))
    assert error(stem.eval()(images), plain.eval()(images)) < 2 * bound


def test_without_the_library_there_is_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY", None)
    assert Conv4(16, 1)(torch.zeros(2, 1, 16, 16)).shape == (2, 16)
