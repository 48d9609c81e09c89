"""Causal attention against its formula, with and without a bound on the context."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from srwm.nn import Transformer


def by_hand(layer: Transformer, x: Tensor) -> Tensor:
    """One sequence (T, d_model), step by step and head by head."""
    e, steps = layer.head_dim, []
    q, k, v = layer.in_linear(x).view(len(x), 3, layer.num_heads, e).unbind(1)
    for t in range(len(x)):
        seen, heads = slice(max(0, t - layer.context), t + 1), []
        for h in range(layer.num_heads):
            scores = (k[seen, h] @ q[t, h] / math.sqrt(e)).softmax(0)
            heads.append(scores @ v[seen, h])
        steps.append(torch.cat(heads))
    return layer.out_linear(torch.stack(steps))


@pytest.mark.parametrize("context", [1, 3, 100])
def test_attention(context: int) -> None:
    layer = Transformer(6, 2, context=context).double()
    x = torch.randn(2, 7, 6, dtype=torch.float64)
    y, _ = layer(x)
    assert_close(y, torch.stack([by_hand(layer, sequence) for sequence in x]))


def test_the_state_holds_the_last_keys_and_values() -> None:
    layer = Transformer(6, 2, context=4)
    x = torch.randn(2, 3, 6)
    mask = torch.tensor([[True, True, True], [True, False, True]])
    _, (keys, values, there) = layer(x, mask=mask)
    k, v = (part.flatten(2) for part in layer._project(x)[1:])
    assert there.tolist() == [[0, 1, 1, 1], [0, 0, 1, 1]]
    assert_close((keys[0, 1:], values[0, 1:]), (k[0], v[0]))
    assert_close((keys[1, 2:], values[1, 2:]), (k[1, [0, 2]], v[1, [0, 2]]))
    assert not keys[1, :2].any()


def test_without_positions_the_order_of_what_was_seen_does_not_matter() -> None:
    layer = Transformer(6, 2)
    x = torch.randn(2, 5, 6)
    shuffled = torch.cat([x[:, [2, 0, 3, 1]], x[:, 4:]], 1)
    assert_close(layer(shuffled)[0][:, -1], layer(x)[0][:, -1])
