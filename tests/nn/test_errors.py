"""Errors of arguments are one line: the argument, what was expected, what was given."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from srwm.nn import (
    LSTM,
    SRWM,
    Block,
    DeltaNet,
    DeltaProduct,
    FakeSRWM,
    LinearTransformer,
    RecurrentDelta,
    SelfModifyingMemory,
    SRDelta,
    Stack,
    StackConfig,
    Transformer,
    index,
    learning_rates,
    replace_core,
    reset,
    shifts_over_time,
)

NO_BACKEND = "backend: expected one of auto, reference, chunked, native, triton, got 'cuda'"

X = torch.zeros(2, 3, 8)
STATE = (torch.zeros(2, 2, 4), torch.zeros(2))
SMALL = {"d_model": 8, "num_heads": 2, "num_layers": 2, "ff_factor": 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SRWM(8, 2)(X[..., :7]), "x: expected (B, T, 8), got (2, 3, 7)"),
        (lambda: SRWM(8, 2)(X[0]), "x: expected (B, T, 8), got (3, 8)"),
        (lambda: SRWM(8, 2)(X.numpy()), "x: expected (B, T, 8), got ndarray"),
        (lambda: SRWM(8, 2)(X.half()), "x: expected torch.float32 as the weights have, or autocast, got torch.float16"),
        (
            lambda: LSTM(8).double().query(X.half()),
            "x: expected torch.float64 as the weights have, or autocast, got torch.float16",
        ),
        (
            lambda: Stack(StackConfig(**SMALL))(X.long()),
            "x: expected torch.float32 as the weights have, or autocast, got torch.int64",
        ),
        *(
            (call, f"x: expected {dtype} as the weights have, or autocast, got torch.float32")
            for dtype in (torch.bfloat16, torch.float64)
            for call in (
                lambda dtype=dtype: DeltaNet(8, 2).to(dtype)(X),
                lambda dtype=dtype: SRWM(8, 2).to(dtype).query(X) if dtype is torch.bfloat16 else FakeSRWM(8, 2).to(dtype)(X),
                lambda dtype=dtype: RecurrentDelta(8, 2).to(dtype)(X, mask=torch.ones(2, 3, dtype=torch.bool)),
                lambda dtype=dtype: Stack(StackConfig(**SMALL)).to(dtype)(X),
                lambda dtype=dtype: Stack(StackConfig(**SMALL)).to(dtype).query(X),
            )
        ),
        (lambda: LSTM(8)(X, (torch.zeros(2, 8).long(),) * 2), "state[0]: expected a floating dtype, got torch.int64"),
        (lambda: Stack(StackConfig(num_layers=1.5)), "num_layers: expected a whole number, got 1.5"),
        (lambda: Stack(StackConfig(ff_factor=1.5)), "ff_factor: expected a whole number, got 1.5"),
        (lambda: Stack(StackConfig(num_layers=None)), "num_layers: expected a whole number, got None"),
        (
            lambda: Stack(StackConfig(carry="unroll", unroll_length=1.5)),
            "unroll_length: expected a whole number, got 1.5",
        ),
        (
            lambda: Stack(StackConfig(d_model=8, num_layers=0, d_input=5)),
            "num_layers: expected 1 or more, so that d_input = 5 becomes d_model, got 0",
        ),
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
        (lambda: SRWM(8, 2)(X, resets=np.zeros((2, 3), bool)), "resets: expected (B, T) = (2, 3), got ndarray"),
        (lambda: LSTM(8)(X, mask=[[True] * 3] * 2), "mask: expected (B, T) = (2, 3), got list"),
        (lambda: LSTM(8)(X, mask=torch.ones(2, 3)), "mask: expected dtype torch.bool, got torch.float32"),
        (lambda: SRWM(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: SRDelta(8, 0), "num_heads: expected a divisor of d_model = 8, got 0"),
        (lambda: SRWM(8, 2.0), "num_heads: expected a whole number, got 2.0"),
        (lambda: DeltaNet(8.0, 2), "d_model: expected a whole number, got 8.0"),
        (lambda: SRWM(8, 2, backend="cuda"), NO_BACKEND),
        (lambda: SRDelta(8, 2, backend="cuda"), NO_BACKEND),
        (lambda: DeltaNet(8, 2, backend="cuda"), NO_BACKEND),
        (lambda: LinearTransformer(8, 2, backend="cuda"), NO_BACKEND),
        (lambda: RecurrentDelta(8, 2, backend="cuda"), NO_BACKEND),
        (lambda: SRWM(8, 2).weight_norm(None), "state: expected a tensor (1, 2, 4, 16), got NoneType"),
        (lambda: SRWM(8, 2).weight_norm(torch.zeros(3, 4, 16)), "state: expected (3, 2, 4, 16), got (3, 4, 16)"),
        (lambda: SRDelta(8, 2).weight_norm(None), "state: expected a tuple of 2, got NoneType"),
        (
            lambda: SRDelta(8, 2).weight_norm(torch.zeros(3, 2, 4, 25)),
            "state: expected a tuple of 2, got a tensor (3, 2, 4, 25)",
        ),
        (lambda: SRDelta(8, 2).weight_norm(()), "state: expected a tuple of 2, got a tuple of 0"),
        (lambda: learning_rates(DeltaNet(8, 2), X), "core: expected a self-referential one, SRWM or SRDelta, got DeltaNet"),
        (
            lambda: shifts_over_time(Stack(StackConfig(**SMALL)), X),
            "core: expected a self-referential one, SRWM or SRDelta, got Stack",
        ),
        (lambda: shifts_over_time(SRWM(8, 2), X[:, :0], X), "shift: expected (2, 2, 4, 16), got (2, 3, 8)"),
        (lambda: index(STATE, 0), "which: expected a slice, bools (B,) or integers (B',), got int"),
        (lambda: index(STATE, torch.tensor(0)), "which: expected a slice, bools (B,) or integers (B',), got ()"),
        (lambda: reset(STATE, [True, False]), "which: expected (B,) = (2,), got list"),
        (lambda: reset(STATE, torch.tensor([1, 0])), "which: expected dtype torch.bool, got torch.int64"),
        (lambda: reset(STATE, torch.tensor([True])), "which: expected (B,) = (2,), got (1,)"),
        (lambda: Block(SRWM(8, 2), residual="pre"), "residual: expected one of norm, input, none, got 'pre'"),
        (lambda: Block(SRWM(8, 2), ff_factor=-2), "ff_factor: expected 0 or more, got -2"),
        (
            lambda: Stack(StackConfig(core="lstm", backend="cuda")),
            NO_BACKEND,
        ),
        (lambda: Stack(StackConfig(ff_factor=-2)), "ff_factor: expected 0 or more, got -2"),
        (lambda: DeltaNet(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: LinearTransformer(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: RecurrentDelta(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: Stack(StackConfig(core="rnn")), "core: expected one of srwm, fake_srwm, deltanet,"),
        (lambda: DeltaNet(8, 2, beta_max=2.5), "beta_max: expected a number above 0 and up to 2, got 2.5"),
        (lambda: DeltaProduct(8, 2, num_factors=0), "num_factors: expected 1 or more, got 0"),
        (lambda: DeltaProduct(8, 2, feature_map="relu"), "feature_map: expected elu or l2, got 'relu'"),
        (lambda: Transformer(8, 2, context=0), "context: expected 1 or more, got 0"),
        (lambda: SelfModifyingMemory(8, 3), "num_heads: expected a divisor of d_model = 8, got 3"),
        (lambda: SelfModifyingMemory(8, 2, chunk_size=0), "chunk_size: expected 1 or more, got 0"),
        (lambda: Stack(StackConfig(residual="pre")), "residual: expected one of norm, input, none, got 'pre'"),
        *(
            (
                lambda core=core, options=options: Stack(StackConfig(core=core, core_options=options)),
                f"core_options: expected {message}",
            )
            for core, options, message in [
                (
                    "deltanet",
                    {"query_init_std": 1.0},
                    "eps or feature_map or tied_init or beta_max for DeltaNet, got query_init_std",
                ),
                ("lstm", {"eps": 0.0}, "no options for LSTM, got eps"),
                ("srwm", {"eps": 0.0}, "input_softmax or beta_init or query_init_std for SRWM, got eps"),
                ("srwm", {"input_softmax": 1}, "input_softmax of type bool, got 1"),
                ("srwm", {"beta_init": True}, "beta_init of type float, got True"),
                ("srwm", {"beta_init": "0"}, "beta_init of type float, got '0'"),
            ]
        ),
        (lambda: replace_core(StackConfig(), "rnn"), "core: expected one of srwm, fake_srwm, deltanet,"),
        (lambda: Stack(StackConfig(carry="sometimes")), "carry: expected one of always, never, unroll, got 'sometimes'"),
        (lambda: Stack(StackConfig(carry="unroll")), "unroll_length: expected a number exactly if carry is 'unroll', got None"),
        (lambda: Stack(StackConfig(unroll_length=3)), "unroll_length: expected a number exactly if carry is 'unroll', got 3"),
        (lambda: Stack(StackConfig(carry="unroll", unroll_length=0)), "unroll_length: expected 1 or more, got 0"),
        (lambda: Stack(StackConfig(d_model=0)), "d_model: expected 1 or more, got 0"),
        (lambda: Stack(StackConfig(num_heads=0)), "num_heads: expected 1 or more, got 0"),
        (lambda: Stack(StackConfig(core="lstm", residual="none", d_input=0)), "d_input: expected 1 or more, got 0"),
        (lambda: Stack(StackConfig(dropout=1.5)), "dropout: expected a number from 0 to 1, got 1.5"),
        (lambda: Stack(StackConfig(dropout=math.nan)), "dropout: expected a number from 0 to 1, got nan"),
        (lambda: Stack(StackConfig(num_layers=-1)), "num_layers: expected 0 or more, got -1"),
        (lambda: Stack(StackConfig(d_input=9)), "d_input: expected d_model = 256 for core 'srwm' with residual 'norm', got 9"),
        (
            lambda: Stack(StackConfig(core="lstm", d_input=9)),
            "d_input: expected d_model = 256 for core 'lstm' with residual 'norm'",
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
