"""How blocks and stacks are put together."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from srwm.nn import CORES, FeedForward, Stack, StackConfig, map_state

SMALL = {"d_model": 8, "num_heads": 2, "num_layers": 2, "ff_factor": 2}
X = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(3))


def feed_forward(layer: FeedForward, x: Tensor) -> Tensor:
    hidden = F.layer_norm(x, [8], layer.norm.weight, layer.norm.bias) @ layer.linear_in.weight.T + layer.linear_in.bias
    return x + hidden.clamp(min=0) @ layer.linear_out.weight.T + layer.linear_out.bias


def expected(stack: Stack, formula: str) -> Tensor:
    h = X
    for block in stack.blocks:
        match formula:
            case "LN(h) + core(h)":
                h = block.norm(h) + block.core(h)[0]
            case "h + core(h)":
                h = h + block.core(h)[0]
            case "h + core(LN(h))":
                h = h + block.core(block.norm(h))[0]
        h = feed_forward(block.feed_forward, h)
    return h


@pytest.mark.parametrize(
    ("residual", "core", "formula"),
    [
        ("norm", "srwm", "LN(h) + core(h)"),
        ("norm", "fake_srwm", "LN(h) + core(h)"),
        ("norm", "deltanet", "h + core(LN(h))"),
        ("norm", "lstm", "h + core(LN(h))"),
        ("input", "srwm", "h + core(h)"),
        ("input", "fake_srwm", "h + core(h)"),
        ("input", "sr_delta", "h + core(h)"),
        ("input", "deltanet", "h + core(LN(h))"),
        ("input", "linear_transformer", "h + core(LN(h))"),
        ("input", "recurrent_delta", "h + core(LN(h))"),
    ],
)
def test_residual_path(residual: str, core: str, formula: str) -> None:
    stack = Stack(StackConfig(**SMALL, core=core, residual=residual))
    assert_close(stack(X)[0], expected(stack, formula), rtol=1e-4, atol=1e-5)
    assert all(isinstance(block.norm, nn.Identity) == (formula == "h + core(h)") for block in stack.blocks)


def test_without_residual_a_block_is_the_core_alone() -> None:
    stack = Stack(StackConfig(core="lstm", d_model=8, num_layers=2, ff_factor=0, residual="none", d_input=5))
    lstm = nn.LSTM(5, 8, num_layers=2, batch_first=True)
    theirs = {name.replace("_l0", f"_l{i}"): w for i in range(2) for name, w in stack.blocks[i].core.lstm.state_dict().items()}
    lstm.load_state_dict(theirs)
    assert_close(stack(X[..., :5])[0], lstm(X[..., :5])[0])


def test_dropout_acts_in_training_alone() -> None:
    stack = Stack(StackConfig(**SMALL, dropout=0.5))
    assert not torch.equal(stack(X)[0], stack(X)[0])
    stack.eval()
    assert torch.equal(stack(X)[0], stack(X)[0])


@pytest.mark.parametrize("core", CORES)
def test_never_is_a_reset_before_every_step(core: str) -> None:
    torch.manual_seed(0)
    never = Stack(StackConfig(**SMALL, core=core, carry="never"))
    always = Stack(StackConfig(**SMALL, core=core))
    always.load_state_dict(never.state_dict())
    assert_close(never(X), always(X, resets=torch.ones(3, 7, dtype=torch.bool)))
    assert_close(never(X)[0], never.query(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("core", ["srwm", "lstm"])
def test_unroll_resets_at_fixed_counts_of_real_steps(core: str) -> None:
    torch.manual_seed(0)
    unroll = Stack(StackConfig(**SMALL, core=core, carry="unroll", unroll_length=3))
    always = Stack(StackConfig(**SMALL, core=core))
    always.load_state_dict(unroll.state_dict())
    y, state = unroll(X)
    at = torch.tensor([True, False, False, True, False, False, True]).expand(3, -1)
    wanted, layers = always(X, resets=at)
    assert_close(y, wanted)
    assert_close(state, (*layers, torch.full((3,), 1)))

    mask = torch.tensor([True, False, True, True, False, True, True]).expand(3, -1)
    padded, padded_state = unroll(X, mask=mask)
    compact, compact_state = unroll(X[:, mask[0]])
    assert_close(padded[:, mask[0]], compact)
    assert_close(padded_state, compact_state)

    episode = torch.zeros(3, 7, dtype=torch.bool)
    episode[:, 4] = True
    assert_close(unroll(X, resets=episode)[0], always(X, resets=at | episode)[0])


def test_masked_steps_give_zero() -> None:
    mask = torch.rand(3, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    y, _ = Stack(StackConfig(**SMALL))(X, mask=mask)
    assert not y[~mask].any()
    assert y[mask].all()


def test_a_stack_moves_to_double_and_its_state_follows() -> None:
    stack = Stack(StackConfig(**SMALL)).double()
    _, state = stack(X.double())
    assert state[0].dtype == stack.initial_state(1)[0].dtype == torch.float64
    assert map_state(Tensor.float, state)[1].dtype == torch.float32
