"""What holds for every core and every stack."""

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from srwm.nn import CORES, LSTM, Layer, Stack, StackConfig, State, detach, index, leaves, map_state, reset

from .conftest import CARRYING, MakeLayer

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def flags(generator: torch.Generator, batch: int, steps: int, chance: float) -> Tensor:
    return torch.rand(batch, steps, generator=generator) < chance


def a_state(layer: Layer, batch: int = 3) -> State:
    x = torch.randn(batch, 4, 6, generator=torch.Generator().manual_seed(7))
    return layer(x)[1]


def test_pieces_give_what_the_whole_gives(layer: Layer) -> None:
    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(
        seed=st.integers(0, 2**20),
        steps=st.integers(0, 8),
        cuts=st.lists(st.integers(0, 8), max_size=4),
        reset_chance=st.sampled_from([None, 0.3, 1.0]),
        mask_chance=st.sampled_from([None, 0.7, 0.0]),
        fresh=st.booleans(),
    )
    def check(
        seed: int, steps: int, cuts: list[int], reset_chance: float | None, mask_chance: float | None, fresh: bool
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(3, steps, 6, generator=generator)
        resets = None if reset_chance is None else flags(generator, 3, steps, reset_chance)
        mask = None if mask_chance is None else flags(generator, 3, steps, mask_chance)
        state = None if fresh else a_state(layer)
        whole, end = layer(x, state, resets, mask)
        bounds = sorted({0, steps, *(min(cut, steps) for cut in cuts)})
        pieces = [whole[:, :0]]
        for start, stop in pairwise(bounds):
            piece = slice(start, stop)
            y, state = layer(
                x[:, piece], state, None if resets is None else resets[:, piece], None if mask is None else mask[:, piece]
            )
            pieces.append(y)
        assert_close(torch.cat(pieces, 1), whole, **TOLERANCE)
        if len(bounds) > 1:
            assert_close(state, end, **TOLERANCE)
        if mask is not None:
            assert not whole[~mask].any()

    check()


def test_a_reset_makes_what_follows_independent_of_what_came_before(carrying_layer: Layer) -> None:
    x = torch.randn(3, 5, 6)
    resets = torch.zeros(3, 5, dtype=torch.bool)
    resets[:2, 2] = True
    y, state = carrying_layer(x, a_state(carrying_layer), resets)
    tail, end = carrying_layer(x[:2, 2:])
    assert_close(y[:2, 2:], tail, **TOLERANCE)
    assert_close(index(state, slice(2)), end, **TOLERANCE)


def test_a_reset_at_a_masked_step_still_resets(carrying_layer: Layer) -> None:
    x = torch.randn(3, 1, 6)
    _, state = carrying_layer(x, a_state(carrying_layer), torch.tensor([[True]] * 3), torch.tensor([[False]] * 3))
    assert_close(state, carrying_layer.initial_state(3), rtol=0, atol=0)


def test_query_equals_separate_steps(layer: Layer) -> None:
    queries = torch.randn(3, 4, 6)
    for state in (None, a_state(layer)):
        separate = [layer(queries[:, i : i + 1], state)[0] for i in range(4)]
        assert_close(layer.query(queries, state), torch.cat(separate, 1), **TOLERANCE)
        assert layer.query(queries[:, :0], state).shape == (3, 0, 6)


def test_calls_leave_the_state_as_it_was(layer: Layer) -> None:
    state = a_state(layer)
    kept = map_state(Tensor.clone, state)
    layer(torch.randn(3, 2, 6), state, torch.ones(3, 2, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.bool))
    layer.query(torch.randn(3, 2, 6), state)
    assert_close(state, kept, rtol=0, atol=0)


def test_detach_cuts_the_graph_and_nothing_else(layer: Layer) -> None:
    state = a_state(layer)
    cut = detach(state)
    assert_close(cut, state, rtol=0, atol=0)
    assert not any(leaf.requires_grad for leaf in leaves(cut))


def test_a_fresh_state_stays_fresh() -> None:
    which = torch.tensor([True, False])
    assert detach(None) is index(None, which) is reset(None, which) is None
    assert leaves(None) == []


def test_leaves_are_the_tensors_in_order() -> None:
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    found = leaves((a, (), (b, (c,))))
    assert [id(leaf) for leaf in found] == [id(a), id(b), id(c)]


def test_gradients_flow_through_the_state(carrying_layer: Layer) -> None:
    x = torch.randn(3, 2, 6, requires_grad=True)
    _, state = carrying_layer(x)
    y, _ = carrying_layer(torch.randn(3, 1, 6), state)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert gradient.flatten(1).any(1).all()


@pytest.mark.parametrize("which", [slice(1, 3), torch.tensor([2, 0]), torch.tensor([True, False, True])], ids=str)
def test_a_state_is_indexed_by_batch(layer: Layer, which: Tensor | slice) -> None:
    x, state = torch.randn(3, 2, 6), a_state(layer)
    y, after = layer(x, state)
    chosen_y, chosen_after = layer(x[which], index(state, which))
    assert_close(chosen_y, y[which], **TOLERANCE)
    assert_close(chosen_after, index(after, which), **TOLERANCE)


def test_reset_makes_chosen_elements_fresh(layer: Layer) -> None:
    state = a_state(layer)
    again = reset(state, torch.tensor([False, True, False]))
    assert_close(index(again, slice(1, 2)), layer.initial_state(1), rtol=0, atol=0)
    assert_close(index(again, slice(0, 3, 2)), index(state, slice(0, 3, 2)), rtol=0, atol=0)


def test_the_initial_state_is_what_none_stands_for(layer: Layer) -> None:
    x = torch.randn(3, 4, 6)
    assert_close(layer(x, layer.initial_state(3)), layer(x), rtol=0, atol=0)


def test_copies_and_saved_weights_compute_the_same(layer: Layer, tmp_path: Path) -> None:
    x = torch.randn(2, 4, 6)
    y, state = layer(x)
    twin = copy.deepcopy(layer)
    assert_close(twin(x), (y, state), rtol=0, atol=0)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(layer.state_dict(), path)
    for weights in (copy.deepcopy(layer.state_dict()), safetensors.torch.load_file(path)):
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        twin.load_state_dict(weights)
        assert_close(twin(x), (y, state), rtol=0, atol=0)


@pytest.mark.parametrize("name", [*CARRYING, "fake_srwm", "unroll"])
def test_an_optimizer_step_changes_every_parameter(name: str, make_layer: MakeLayer) -> None:
    untouched = make_layer(name)
    trained = copy.deepcopy(untouched)
    loss = (trained(torch.randn(3, 6, 6))[0] - torch.randn(3, 6, 6)).square().sum()
    loss.backward()
    torch.optim.SGD(trained.parameters(), 0.1).step()
    for (parameter, before), after in zip(untouched.named_parameters(), trained.parameters(), strict=True):
        moved = after != before
        columns_of_heads = moved.any(dim=1) if moved.dim() == 3 else moved.any()
        assert columns_of_heads.all(), parameter


def test_masked_batches_equal_their_sequences_one_by_one(layer: Layer) -> None:
    lengths = [5, 2, 0, 6]
    x = torch.randn(4, 6, 6)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    y, state = layer(x.masked_fill(~mask[..., None], torch.nan), mask=mask)
    for i, length in enumerate(lengths):
        alone, end = layer(x[i : i + 1, :length])
        assert_close(y[i : i + 1, :length], alone, **TOLERANCE)
        assert_close(index(state, slice(i, i + 1)), end, **TOLERANCE)


def test_nan_stays_in_its_batch_element(layer: Layer) -> None:
    x = torch.randn(3, 4, 6)
    spoilt = x.clone()
    spoilt[1, 1] = torch.nan
    others = torch.tensor([0, 2])
    (y, state), (bad_y, bad_state) = layer(x), layer(spoilt)
    assert bad_y[1, 1].isnan().any()
    assert_close(bad_y[others], y[others], **TOLERANCE)
    assert_close(index(bad_state, others), index(state, others), **TOLERANCE)


def test_no_batch_and_no_steps(layer: Layer) -> None:
    y, state = layer(torch.randn(0, 3, 6))
    assert y.shape == (0, 3, 6)
    assert layer(torch.randn(0, 3, 6), state)[0].shape == (0, 3, 6)
    state = a_state(layer)
    y, same = layer(torch.randn(3, 0, 6), state)
    assert y.shape == (3, 0, 6)
    assert_close(same, state, rtol=0, atol=0)


@pytest.mark.parametrize("name", CORES)
def test_a_core_tells_how_it_was_built(name: str, make_layer: MakeLayer) -> None:
    core = make_layer(name)
    for argument in ("d_model", "num_heads", "backend"):
        shown = f"{argument}={getattr(core, argument, None)!r}" in repr(core)
        assert shown == hasattr(core, argument)


@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "module"])
def test_bfloat16_keeps_a_float32_state(layer: Layer, autocast: bool) -> None:
    x = torch.randn(3, 4, 6)
    y, _ = layer(x)
    if not autocast:
        layer, x = copy.deepcopy(layer).bfloat16(), x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        _, state = layer(x[:, :3])
        low_y, after = layer(x[:, 3:], state)
        queried = layer.query(x[:, 3:], state)
    assert all(leaf.dtype in (torch.float32, torch.long) for leaf in [*leaves(state), *leaves(after)])
    for low in (low_y, queried):
        assert (low.float() - y[:, 3:]).norm() < 0.05 * y[:, 3:].norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "module"])
def test_the_lstm_runs_in_smaller_dtypes_with_and_without_gradients(autocast: bool, dtype: torch.dtype) -> None:
    x = torch.randn(3, 4, 6)
    layer = LSTM(6)
    wanted = layer(x)[0]
    layer, x = (layer, x) if autocast else (layer.to(dtype), x.to(dtype))
    with torch.autocast("cpu", dtype=dtype, enabled=autocast):
        y, _ = layer(x)
        with torch.no_grad():
            assert_close(layer(x)[0], y, rtol=0.02, atol=0.02)
    assert y.dtype is x.dtype
    assert (y.float() - wanted).norm() < 0.02 * wanted.norm()
    gradients = torch.autograd.grad(y.float().square().sum(), list(layer.parameters()))
    assert all(gradient.any() for gradient in gradients)


def test_every_module_with_parameters_of_its_own_draws_them_anew(layer: Layer) -> None:
    """As a model that was built without memory needs it: `to_empty`, then `reset_parameters` of each module."""
    for module in layer.modules():
        assert hasattr(module, "reset_parameters") or not list(module.parameters(recurse=False))


@pytest.fixture
def usual_default_dtype() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("usual_default_dtype")
@pytest.mark.parametrize("default", ["meta", torch.float64, torch.bfloat16], ids=str)
def test_other_defaults_change_nothing_in_a_layer_that_is_built(layer: Layer, default: str | torch.dtype) -> None:
    x, resets, mask = torch.randn(2, 4, 6), torch.zeros(2, 4, dtype=torch.bool), torch.ones(2, 4, dtype=torch.bool)
    resets[0, 2], mask[1, 1] = True, False

    def results() -> list[Tensor]:
        y, state = layer(x, None, resets, mask)
        return [y, layer(x)[0], layer.query(x), layer.query(x, state), *leaves(state), *leaves(layer.initial_state(2))]

    wanted = results()
    if isinstance(default, torch.dtype):
        torch.set_default_dtype(default)
    with torch.device(default) if isinstance(default, str) else nullcontext():
        assert_close(results(), wanted, rtol=0, atol=0)


@pytest.mark.usefixtures("usual_default_dtype")
@pytest.mark.parametrize("name", CORES)
def test_a_layer_is_built_in_the_default_dtype_as_modules_of_pytorch_are(name: str, make_layer: MakeLayer) -> None:
    torch.set_default_dtype(torch.float64)
    layer = make_layer(name)
    y, state = layer(torch.randn(3, 2, 6))
    assert {tensor.dtype for tensor in (y, *leaves(state), *layer.parameters())} == {torch.float64}


def test_the_state_of_a_stack_without_weights_lies_on_the_cpu_whatever_the_default_device() -> None:
    config = StackConfig("none", d_model=6, ff_factor=0, residual="none", carry="unroll", unroll_length=3)
    with torch.device("meta"):
        assert Stack(config).initial_state(2)[-1].tolist() == [0, 0]


def test_a_query_before_each_step_is_a_query_of_the_state_at_that_time(layer: Layer) -> None:
    generator = torch.Generator().manual_seed(5)
    x, queries = torch.randn(3, 5, 6, generator=generator), torch.randn(3, 5, 6, generator=generator)
    for state in (None, a_state(layer)):
        y, answers, end = layer.forward_with_queries(x, queries, state)
        expected_y, expected_end = layer(x, state)
        assert_close(y, expected_y, **TOLERANCE)
        assert_close(end, expected_end, **TOLERANCE)
        for t in range(5):
            before = state if t == 0 else layer(x[:, :t], state)[1]
            assert_close(answers[:, t], layer.query(queries[:, t : t + 1], before)[:, 0], **TOLERANCE)


def test_queries_before_steps_have_the_shape_of_the_steps(layer: Layer) -> None:
    with pytest.raises(ValueError, match="queries"):
        layer.forward_with_queries(torch.zeros(3, 5, 6), torch.zeros(3, 4, 6))
