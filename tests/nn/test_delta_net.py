"""Delta rules with a range of the learning rate, a decay and several writes a step, written out for one sequence."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from srwm.nn import DeltaNet, DeltaProduct, GatedDeltaNet

HEADS, E = 2, 3


@pytest.fixture
def x() -> Tensor:
    return torch.randn(1, 5, HEADS * E, dtype=torch.float64)


def l2(z: Tensor) -> Tensor:
    silu = F.silu(z)
    return silu / silu.norm()


def write(fast: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> Tensor:
    return fast + beta * torch.outer(v - fast @ k, k)


def joined(layer: DeltaNet | DeltaProduct, reads: list[list[Tensor]]) -> Tensor:
    """out_linear of what each head read at each step."""
    return layer.out_linear(torch.stack([torch.cat(heads) for heads in zip(*reads, strict=True)]))[None]


@pytest.mark.parametrize("beta_max", [0.5, 2.0])
def test_beta_is_scaled_to_its_range(x: Tensor, beta_max: float) -> None:
    layer = DeltaNet(HEADS * E, HEADS, feature_map="l2", beta_max=beta_max).double()
    y, _ = layer(x)
    slow, reads = layer.slow_net(x[0]).view(-1, HEADS, 3 * E + 1), []
    for h in range(HEADS):
        fast = torch.zeros(E, E, dtype=torch.float64)
        reads.append([])
        for q, k, v, beta in (step.split([E, E, E, 1]) for step in slow[:, h]):
            fast = write(fast, l2(k), v, beta_max * beta.sigmoid())
            reads[-1].append(fast @ l2(q))
    assert_close(y, joined(layer, reads))


def test_gated_deltanet(x: Tensor) -> None:
    layer = GatedDeltaNet(HEADS * E, HEADS, decay_init=0.5).double()
    y, state = layer(x)
    slow, reads = layer.slow_net(x[0]).view(-1, HEADS, 3 * E + 1), []
    decay = (layer.decay_linear(x[0]) + 0.5).sigmoid()
    for h in range(HEADS):
        fast = torch.zeros(E, E, dtype=torch.float64)
        reads.append([])
        for kept, (q, k, v, beta) in zip(decay[:, h], (step.split([E, E, E, 1]) for step in slow[:, h]), strict=True):
            fast = write(kept * fast, l2(k), v, beta.sigmoid())
            reads[-1].append(fast @ l2(q))
        assert_close(state[0, h], fast.T)
    assert_close(y, joined(layer, reads))


def test_a_decay_of_one_is_deltanet() -> None:
    layer = GatedDeltaNet(8, 2, decay_init=100.0)
    plain = DeltaNet(8, 2, feature_map="l2")
    plain.load_state_dict({name: part for name, part in layer.state_dict().items() if not name.startswith("decay")})
    x = torch.randn(2, 6, 8)
    assert_close(layer(x), plain(x))


@pytest.mark.parametrize("number", [1, 3])
def test_deltaproduct(x: Tensor, number: int) -> None:
    layer = DeltaProduct(HEADS * E, HEADS, num_factors=number).double()
    y, state = layer(x)
    slow, reads = layer.slow_net(x[0]).view(5, HEADS, -1), []
    for h in range(HEADS):
        fast = torch.zeros(E, E, dtype=torch.float64)
        reads.append([])
        for q, k, v, beta in (step.split([E, number * E, number * E, number]) for step in slow[:, h]):
            for i in range(number):
                fast = write(fast, l2(k[i * E : (i + 1) * E]), v[i * E : (i + 1) * E], 2 * beta[i].sigmoid())
            reads[-1].append(fast @ l2(q))
        assert_close(state[0, h], fast.T)
    assert_close(y, joined(layer, reads))


def test_one_factor_is_deltanet() -> None:
    layer, plain = DeltaProduct(8, 2, num_factors=1), DeltaNet(8, 2, feature_map="l2", beta_max=2.0)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 6, 8)
    assert_close(layer(x), plain(x))


def test_two_factors_rotate_what_is_stored() -> None:
    """Two reflections are a rotation, which one delta rule with beta up to 2 cannot make: a third of a turn, three times."""
    layer = DeltaProduct(2, 1, num_factors=2).double()
    angle = torch.tensor(torch.pi / 3, dtype=torch.float64)
    k = torch.stack([torch.tensor([1.0, 0]).double(), torch.stack([angle.cos(), angle.sin()])]).view(1, 1, 2, 1, 2)
    v, beta = torch.zeros_like(k), torch.full((1, 1, 2, 1), 2.0).double()
    start = state = torch.eye(2, dtype=torch.float64)[None, None]
    seen = []
    for _ in range(3):
        _, state = layer._expanded(torch.zeros_like(k), k, v, beta, state, None, None)
        seen.append(state)
    assert_close(state, start)
    assert all((part - start).norm() > 1 for part in seen[:2])
