"""Self-modifying memories against their equations, one vector at a time, and chunks against steps."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from srwm.nn import SelfModifyingMemory

HEADS, E = 2, 3


def unit(z: Tensor) -> Tensor:
    return z / z.norm()


def by_hand(layer: SelfModifyingMemory, x: Tensor) -> tuple[Tensor, Tensor]:
    """One sequence (T, d_model): y and the matrices at the end, each memory written for itself."""
    columns = {"y": E, "k": E, "v": E, "rate": 1, "decay": int(layer.decay)}
    names = {"k": "static_keys", "v": "static_values", "rate": "static_rates", "decay": "static_decays"}
    reads, ends = [], []
    queries = layer.query_linear(x).view(-1, HEADS, E)
    for h in range(HEADS):
        memories = dict(zip(columns, layer.weight[h].detach().split(list(columns.values()), -1), strict=True))
        chunk = memories
        reads.append([])
        for t, step in enumerate(x.view(-1, HEADS, E)[:, h]):
            if t % layer.chunk_size == 0:
                chunk = dict(memories)
            k, v = unit(step @ chunk["k"]), step @ chunk["v"]
            v = unit(v) if layer.normalize_values else v
            rate = (step @ chunk["rate"] + layer.rate_init).sigmoid()
            decay = (step @ chunk["decay"] + layer.decay_init).sigmoid() if layer.decay else 1
            reads[-1].append(unit(queries[t, h]) @ memories["y"])
            for name, memory in memories.items():
                if name in names and getattr(layer, names[name]):
                    continue
                target, kept = v @ chunk[name], decay * memory - rate * torch.outer(k, k @ memory)
                memories[name] = kept - rate * torch.outer(k, k @ memory - target)
        ends.append(torch.cat(list(memories.values()), -1))
    y = torch.stack([torch.cat(heads) for heads in zip(*reads, strict=True)])
    return layer.out_linear(y), torch.stack(ends)


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decay": False, "rate_init": -0.5},
        {"normalize_values": False},
        {"static_keys": True, "static_decays": True},
        {"static_values": True, "static_rates": True, "decay_init": 0.5},
    ],
    ids=str,
)
def test_the_equations(chunk_size: int, options: dict[str, bool | float]) -> None:
    layer = SelfModifyingMemory(HEADS * E, HEADS, chunk_size=chunk_size, **options).double()
    x = torch.randn(3, 7, HEADS * E, dtype=torch.float64)
    y, state = layer(x)
    shift = state if chunk_size == 1 else state[0]
    for b in range(3):
        wanted, end = by_hand(layer, x[b])
        assert_close(y[b], wanted)
        assert_close(shift[b], end - layer.weight)


@pytest.mark.parametrize("chunk_size", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_exact_gradients_through_all_writes(chunk_size: int) -> None:
    layer = SelfModifyingMemory(HEADS * E, HEADS, chunk_size=chunk_size).double()
    x = torch.randn(2, 5, HEADS * E, dtype=torch.float64, requires_grad=True)
    resets = torch.zeros(2, 5, dtype=torch.bool)
    resets[1, 2] = True

    def run(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        y, state = torch.func.functional_call(layer, {"weight": weight}, (x, None, resets))
        return y, state if chunk_size == 1 else state[0]

    assert torch.autograd.gradcheck(run, (x, layer.weight))


def test_a_piece_goes_on_with_the_chunk_that_another_began() -> None:
    layer = SelfModifyingMemory(HEADS * E, HEADS, chunk_size=4)
    x = torch.randn(2, 9, HEADS * E)
    _, (shift, start, position) = layer(x[:, :6])
    _, (at_four, _, _) = layer(x[:, :4])
    assert position.tolist() == [2, 2]
    assert_close(start, at_four)
    assert not torch.allclose(shift, start)
    _, (shift, start, position) = layer(x[:, 6:8], (shift, start, position))
    assert position.tolist() == [0, 0]
    assert_close(shift, start, rtol=0, atol=0)


def test_chunks_are_counted_from_resets_and_without_masked_steps() -> None:
    layer = SelfModifyingMemory(HEADS * E, HEADS, chunk_size=3)
    x = torch.randn(1, 8, HEADS * E)
    resets, mask = torch.zeros(1, 8, dtype=torch.bool), torch.ones(1, 8, dtype=torch.bool)
    resets[0, 2], mask[0, 4] = True, False
    y, (_, _, position) = layer(x, None, resets, mask)
    assert position.tolist() == [2]  # steps 2, 3, 5 are one chunk, 6 and 7 the next
    alone, _ = layer(x[:, [2, 3, 5, 6, 7]])
    assert_close(y[:, [2, 3, 5, 6, 7]], alone)
