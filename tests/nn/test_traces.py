import pytest
import torch
from torch.testing import assert_close

from srwm.nn import SRWM, SelfReferential, SRDelta, learning_rates, shifts_over_time

B, T, D_MODEL, HEADS = 2, 5, 6, 2


@pytest.fixture(params=[SRWM, SRDelta])
def core(request) -> SelfReferential:
    return request.param(D_MODEL, HEADS, input_softmax=request.param is SRDelta, beta_init=-0.5).double()


def by_hand(core, x, shift, resets):
    """Equations 5 to 8 for one sequence and one head after the other, in vectors."""
    e, d = core.head_dim, core.d_out
    rates, shifts = torch.zeros(B, T, HEADS, 4).double(), torch.zeros(B, T + 1, *core.weight.shape).double()
    for b in range(B):
        for h in range(HEADS):
            matrix = (core.weight[h] + shift[b, h]).detach().clone()
            shifts[b, 0, h] = shift[b, h]
            for t in range(T):
                if resets[b, t]:
                    matrix = core.weight[h].detach().clone()
                read = x[b, t, h * e : (h + 1) * e]
                read = read.softmax(0) if core.input_softmax else read
                _, q, k, beta = (read @ matrix).split([d, e, e, 4])
                rates[b, t, h] = beta.sigmoid()
                old, new = k.softmax(0) @ matrix, q.softmax(0) @ matrix
                scale = torch.cat([rate.expand(n) for rate, n in zip(beta.sigmoid(), (d, e, e, 4), strict=True)])
                matrix = matrix + torch.outer(k.softmax(0), scale * (new - old))
                shifts[b, t + 1, h] = matrix - core.weight[h]
    return rates, shifts


@pytest.mark.parametrize("carried", [False, True])
def test_rates_and_shifts_are_those_of_the_definition(core, carried):
    x, shift = torch.randn(B, T, D_MODEL).double(), torch.zeros(B, *core.weight.shape).double()
    resets = torch.zeros(B, T, dtype=torch.bool)
    if carried:
        shift, resets[0, 2] = torch.randn_like(shift), True
    rates, shifts = by_hand(core, x, shift, resets)
    given = (shift, resets) if carried else (None, None)
    assert_close(learning_rates(core, x, *given), rates)
    assert_close(shifts_over_time(core, x, *given), shifts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_dtypes_and_autocast_compute_as_the_layer_does(dtype):
    core, x = SRWM(D_MODEL, HEADS), torch.randn(B, T, D_MODEL)
    wanted = learning_rates(core, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(learning_rates(core, x), wanted)
    small = learning_rates(core.to(dtype), x.to(dtype))
    assert small.dtype is torch.float32
    assert_close(small, wanted, rtol=0.05, atol=0.02)


def test_the_last_shift_is_the_state_that_the_layer_returns(core):
    x = torch.randn(B, T, D_MODEL).double()
    state = core(x)[1]
    assert_close(shifts_over_time(core, x)[:, -1], state if isinstance(core, SRWM) else state[0])


def test_no_steps_give_no_rates_and_the_shift_that_came_in(core):
    x = torch.zeros(B, 0, D_MODEL).double()
    assert learning_rates(core, x).shape == (B, 0, HEADS, 4)
    assert torch.equal(shifts_over_time(core, x), torch.zeros(B, 1, *core.weight.shape).double())


def test_a_wrong_width_is_reported(core):
    with pytest.raises(ValueError, match=r"x: expected"):
        learning_rates(core, torch.zeros(B, T, D_MODEL + 1).double())
