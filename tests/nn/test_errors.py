"""A mistake is told in one line: the argument, what was wanted, what came."""

import re
from collections.abc import Callable

import pytest
import torch

from srwm.nn import LSTM, SRWM, DeltaNet, FakeSRWM, LinearTransformer, RecurrentDelta, SRDelta, Stack, StackConfig

X = torch.zeros(2, 3, 8)
SMALL = {"d_model": 8, "num_heads": 2, "num_layers": 2, "ff_factor": 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SRWM(8, 2)(X[..., :7]), "x: expected (B, T, 8), got (2, 3, 7)"),
        (lambda: SRWM(8, 2)(X[0]), "x: expected (B, T, 8), got (3, 8)"),
        (lambda: SRWM(8, 2).query(X[..., :7]), "x: expected (B, Q, 8), got (2, 3, 7)"),
        (lambda: SRWM(8, 2)(X, torch.zeros(3, 2, 4, 16)), "state: expected (2, 2, 4, 16), got (3, 2, 4, 16)"),
        (lambda: SRWM(8, 2)(X, (torch.zeros(2, 2, 4, 16),)), "state: expected a tensor (2, 2, 4, 16), got a tuple of 1"),
        (lambda: LSTM(8)(X, torch.zeros(2, 8)), "state: expected a tuple of 2, got a tensor (2, 8)"),
        (lambda: LSTM(8)(X, [torch.zeros(2, 8)] * 2), "state: expected a tuple of 2, got list"),
        (lambda: LSTM(8)(X, (torch.zeros(2, 8), torch.zeros(1, 8))), "state[1]: expected (2, 8), got (1, 8)"),
        (lambda: SRDelta(8, 2).query(X, ()), "state: expected a tuple of 2, got a tuple of 0"),
        (lambda: FakeSRWM(8, 2)(X, X), "state: expected a tuple of 0, got a tensor (2, 3, 8)"),
        (
            lambda: SRWM(8, 2)(X, resets=torch.zeros(2, 4, dtype=torch.bool)),
            "resets: expected (B, T) = (2, 3), got (2, 4)",
        ),
        (lambda: LSTM(8)(X, mask=torch.ones(2, 3)), "mask: expected dtype torch.bool, got torch.float32"),
        (lambda: SRWM(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: SRDelta(8, 0), "num_heads: expected a divisor of d_model = 8, got 0"),
        (lambda: DeltaNet(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: LinearTransformer(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: RecurrentDelta(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: Stack(StackConfig(core="gru")), "core: expected one of srwm, fake_srwm, deltanet,"),
        (lambda: Stack(StackConfig(style="residual")), "style: expected one of fewshot, rl, plain, got 'residual'"),
        (lambda: Stack(StackConfig(carry="sometimes")), "carry: expected one of always, never, unroll, got 'sometimes'"),
        (lambda: Stack(StackConfig(carry="unroll")), "unroll_length: expected a number exactly if carry is 'unroll', got None"),
        (lambda: Stack(StackConfig(unroll_length=3)), "unroll_length: expected a number exactly if carry is 'unroll', got 3"),
        (lambda: Stack(StackConfig(carry="unroll", unroll_length=0)), "unroll_length: expected 1 or more, got 0"),
        (lambda: Stack(StackConfig(num_layers=-1)), "num_layers, ff_factor: expected 0 or more, got -1, 4"),
        (lambda: Stack(StackConfig(d_input=9)), "d_input: expected d_model = 256 for core 'srwm' in style 'fewshot', got 9"),
        (
            lambda: Stack(StackConfig(core="lstm", d_input=9)),
            "d_input: expected d_model = 256 for core 'lstm' in style 'fewshot'",
        ),
        (lambda: Stack(StackConfig(**SMALL))(X, (torch.zeros(2, 2, 4, 16),)), "state: expected a tuple of 2, got a tuple of 1"),
        (
            lambda: Stack(StackConfig(**SMALL))(X, (torch.zeros(2, 2, 4, 16), torch.zeros(2, 2, 4, 17))),
            "state[1]: expected (2, 2, 4, 16), got (2, 2, 4, 17)",
        ),
    ],
)
def test_message(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)
