"""Each core against its equations, written out step by step for one sequence."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from srwm.nn import LSTM, SRWM, DeltaNet, FakeSRWM, LinearTransformer, NoMemory, RecurrentDelta, SRDelta

HEADS, E = 2, 3


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, 5, HEADS * E, dtype=torch.float64)


def read_and_modify(matrix: Tensor, x: Tensor, d: int) -> tuple[Tensor, Tensor]:
    y, q, k, beta = (matrix.T @ x).split([d, E, E, 4])
    rates = torch.cat([beta[i].sigmoid().expand(n) for i, n in enumerate((d, E, E, 4))])
    wanted, stored = matrix.T @ q.softmax(0), matrix.T @ k.softmax(0)
    return y, matrix + torch.outer(k.softmax(0), rates * (wanted - stored))


def delta_step(fast: Tensor, q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    fast = fast + beta.sigmoid() * torch.outer(v - fast @ k, k)
    return fast @ q, fast


def elu_phi(z: Tensor, eps: float) -> Tensor:
    positive = F.elu(z) + 1
    return positive / (positive.sum() + eps)


@pytest.mark.parametrize("input_softmax", [False, True])
def test_srwm(x: Tensor, input_softmax: bool) -> None:
    layer = SRWM(HEADS * E, HEADS, input_softmax=input_softmax).double()
    y, shift = layer(x)
    for h in range(HEADS):
        matrix = layer.weight[h]
        reads = []
        for step in x[0].view(-1, HEADS, E)[:, h]:
            read, matrix = read_and_modify(matrix, step.softmax(0) if input_softmax else step, E)
            reads.append(read)
        assert_close(shift[0, h], matrix - layer.weight[h])
        assert_close(layer.weight_norm(shift)[0, h], matrix.norm())
        partial = torch.stack(reads) @ layer.out_linear.weight[:, h * E : (h + 1) * E].T
        y = y - partial
    assert_close(y, torch.zeros_like(y), rtol=0, atol=1e-12)


def test_sr_delta(x: Tensor) -> None:
    layer = SRDelta(HEADS * E, HEADS, input_softmax=True).double()
    y, (shift, fast) = layer(x)
    for h in range(HEADS):
        matrix, memory = layer.weight[h], torch.zeros(E, E, dtype=torch.float64)
        reads = []
        for step in x[0].view(-1, HEADS, E)[:, h]:
            program, matrix = read_and_modify(matrix, step.softmax(0), 3 * E + 1)
            q, k, v, beta = program.split([E, E, E, 1])
            read, memory = delta_step(memory, q.softmax(0), k.softmax(0), v, beta)
            reads.append(read)
        assert_close(shift[0, h], matrix - layer.weight[h])
        assert_close(fast[0, h], memory.T)
        assert_close(layer.weight_norm((shift, fast))[0, h], matrix.norm())
        y = y - torch.stack(reads) @ layer.out_linear.weight[:, h * E : (h + 1) * E].T
    assert_close(y, torch.zeros_like(y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_head_of_deltanet_of_which_nothing_is_left_is_not_none(dtype: torch.dtype) -> None:
    """Far below 0 elu + 1 is 0 in floating point, and so is its sum over a head."""
    layer = DeltaNet(HEADS * E, HEADS).to(dtype)
    x = torch.ones(1, 4, HEADS * E, dtype=dtype, requires_grad=True)
    with torch.no_grad():
        layer.slow_net.weight.fill_(-100.0)
    y, fast = layer(x)
    gradient = torch.autograd.grad(y.sum() + fast.sum(), [x, *layer.parameters()])
    assert all(part.isfinite().all() for part in (y, fast, *gradient))


@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_deltanet(x: Tensor, eps: float) -> None:
    layer = DeltaNet(HEADS * E, HEADS, eps=eps).double()
    y, fast = layer(x)
    slow = layer.slow_net(x[0]).view(-1, HEADS, 3 * E + 1)
    for h in range(HEADS):
        memory = torch.zeros(E, E, dtype=torch.float64)
        reads = []
        for q, k, v, beta in (step.split([E, E, E, 1]) for step in slow[:, h]):
            read, memory = delta_step(memory, elu_phi(q, eps), elu_phi(k, eps), v, beta)
            reads.append(read)
        assert_close(fast[0, h], memory.T)
        y = y - torch.stack(reads) @ layer.out_linear.weight[:, h * E : (h + 1) * E].T
    assert_close(y, torch.zeros_like(y), rtol=0, atol=1e-12)


def test_linear_transformer(x: Tensor) -> None:
    layer = LinearTransformer(HEADS * E, HEADS).double()
    y, fast = layer(x)
    slow = layer.slow_net(x[0]).view(-1, HEADS, 3 * E)
    for h in range(HEADS):
        memory = torch.zeros(E, E, dtype=torch.float64)
        reads = []
        for q, k, v in (step.split([E, E, E]) for step in slow[:, h]):
            memory = memory + torch.outer(v, elu_phi(k, 1e-5))
            reads.append(memory @ elu_phi(q, 1e-5))
        assert_close(fast[0, h], memory.T)
        y = y - torch.stack(reads) @ layer.out_linear.weight[:, h * E : (h + 1) * E].T
    assert_close(y, torch.zeros_like(y), rtol=0, atol=1e-12)


def test_recurrent_delta(x: Tensor) -> None:
    layer = RecurrentDelta(HEADS * E, HEADS).double()
    y, (fast, last) = layer(x)
    slow = layer.slow_net(x[0]).view(-1, HEADS, 3 * E + 1)
    for h in range(HEADS):
        memory, read = torch.zeros(E, E, dtype=torch.float64), torch.zeros(E, dtype=torch.float64)
        reads = []
        for z in slow[:, h]:
            q, k, v, beta = (z + layer.recurrent[h].T @ read.tanh()).split([E, E, E, 1])
            read, memory = delta_step(memory, q.softmax(0), k.softmax(0), v, beta)
            reads.append(read)
        assert_close(fast[0, h], memory.T)
        assert_close(last[0, h], read)
        y = y - torch.stack(reads) @ layer.out_linear.weight[:, h * E : (h + 1) * E].T
    assert_close(y, torch.zeros_like(y), rtol=0, atol=1e-12)


def test_fake_srwm(x: Tensor) -> None:
    layer = FakeSRWM(HEADS * E, HEADS).double()
    y, state = layer(x)
    assert_close(y, x @ torch.block_diag(*layer.weight) @ layer.out_linear.weight.T)
    assert state == ()


def test_lstm_between_resets_is_the_lstm_on_each_segment() -> None:
    layer = LSTM(4, 3)
    x = torch.randn(2, 7, 3)
    resets = torch.zeros(2, 7, dtype=torch.bool)
    resets[0, 3] = resets[1, 5] = True
    y, (h, c) = layer(x, resets=resets)
    for b, cut in ((0, 3), (1, 5)):
        first, _ = layer.lstm(x[b : b + 1, :cut])
        second, (h_end, c_end) = layer.lstm(x[b : b + 1, cut:])
        assert_close(y[b], torch.cat([first, second], 1)[0])
        assert_close((h[b], c[b]), (h_end[0, 0], c_end[0, 0]))


def test_no_memory_is_the_identity(x: Tensor) -> None:
    y, state = NoMemory(HEADS * E)(x)
    assert_close(y, x, rtol=0, atol=0)
    assert state == ()


@pytest.mark.parametrize("make", [SRWM, SRDelta])
def test_initial_matrix(make: type[SRWM] | type[SRDelta]) -> None:
    torch.manual_seed(0)
    layer = make(512, 8, beta_init=-3.0, query_init_std=0.01)
    d = layer.d_out
    y, q, k, beta = layer.weight.detach().split([d, 64, 64, 4], dim=-1)
    for part, std in ((y, 1 / 8), (q, 0.01 / 8), (k, 1 / 8), (beta, 1 / 8)):
        assert part.std().item() == pytest.approx(std, rel=0.05)
    assert beta.mean().item() == pytest.approx(-3, abs=0.02)
    assert y.mean().item() == pytest.approx(0, abs=0.01)


def test_deltanet_with_tied_projections_reads_what_was_written_for_equal_inputs() -> None:
    torch.manual_seed(0)
    core = DeltaNet(16, 2, feature_map="l2", tied_init=True)
    q, k, _, _ = core._project(torch.randn(3, 5, 16))
    assert torch.equal(q, k)
    assert_close(q.norm(dim=-1), torch.ones(3, 5, 2))
    untied = DeltaNet(16, 2, feature_map="l2")
    q, k, _, _ = untied._project(torch.randn(3, 5, 16))
    assert not torch.allclose(q, k)


def test_deltanet_refuses_an_unknown_feature_map() -> None:
    with pytest.raises(ValueError, match="feature_map: expected elu or l2, got 'relu'"):
        DeltaNet(16, 2, feature_map="relu")
