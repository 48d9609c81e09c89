"""The reference against the published equations, written out for one sequence and head, and against hand-made cases."""

import numpy as np
import torch

from srwm import ops

from .recurrences import RECURRENCES, Inputs, Recurrence, Sizes, draw, draw_flags


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def _srwm(x: np.ndarray, weight: np.ndarray, shift: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (T, E), weight and shift (E, D + 2E + 4), flags (T, 2): W is kept, as in the paper, with one row for each output."""
    e = x.shape[1]
    d = weight.shape[1] - 2 * e - 4
    w0, w = weight.T, (weight + shift).T
    ys = np.zeros((len(x), d))
    for t, (reset, real) in enumerate(flags):
        if reset:
            w = w0
        if not real:
            continue
        y, q, k, b = np.split(w @ x[t], [d, d + e, d + 2 * e])
        stored, target = w @ _softmax(k), w @ _softmax(q)
        rate = np.repeat(_sigmoid(b), [d, e, e, 4])
        w = w + np.outer(rate * (target - stored), _softmax(k))
        ys[t] = y
    return ys, (w - w0).T


def _fast_weights(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    beta: np.ndarray | None,
    decay: np.ndarray | None,
    state: np.ndarray,
    flags: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """q, k (T, E), v (T, D), beta and decay (T,), state (E, D), flags (T, 2)."""
    ys = np.zeros(v.shape)
    for t, (reset, real) in enumerate(flags):
        if reset:
            state = np.zeros_like(state)
        if not real:
            continue
        state = state if decay is None else decay[t] * state
        write = v[t] if beta is None else beta[t] * (v[t] - k[t] @ state)
        state = state + np.outer(k[t], write)
        ys[t] = q[t] @ state
    return ys, state


def _one(name: str, inputs: Inputs, flags: np.ndarray, b: int, h: int) -> tuple[np.ndarray, np.ndarray]:
    a = {key: value.numpy() for key, value in inputs.items()}
    if name == "srwm":
        return _srwm(a["x"][b, :, h], a["weight"][h], a["state"][b, h], flags[b])
    beta, decay = (a[key][b, :, h] if key in a else None for key in ("beta", "decay"))
    return _fast_weights(a["q"][b, :, h], a["k"][b, :, h], a["v"][b, :, h], beta, decay, a["state"][b, h], flags[b])


def test_the_equations(recurrence: Recurrence) -> None:
    sizes = Sizes(3, 9, 2, 4, 5)
    inputs = {name: a.double() for name, a in draw(recurrence, sizes).items()}
    flags = draw_flags(sizes, resets=0.2)
    pairs = torch.stack((flags["resets"], flags["mask"]), -1).numpy()
    assert flags["resets"].any()
    assert not flags["mask"].all()

    y, state = recurrence.run(**inputs, **flags)

    for b in range(sizes.batch):
        for h in range(sizes.heads):
            wanted_y, wanted_state = _one(recurrence.name, inputs, pairs, b, h)
            np.testing.assert_allclose(y[b, :, h].numpy(), wanted_y, rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(state[b, h].numpy(), wanted_state, rtol=1e-12, atol=1e-13)


def test_no_flags_and_no_state_are_the_neutral_ones(recurrence: Recurrence, backend: str) -> None:
    sizes = Sizes(2, 5, 2, 3, 4)
    inputs = draw(recurrence, sizes)
    inputs["state"].zero_()
    flags = {"resets": torch.zeros(2, 5, dtype=torch.bool), "mask": torch.ones(2, 5, dtype=torch.bool)}
    y, state = recurrence.run(**inputs, **flags, backend=backend)
    del inputs["state"]
    bare_y, bare_state = recurrence.run(**inputs, backend=backend)
    torch.testing.assert_close((bare_y, bare_state), (y, state), rtol=1e-6, atol=1e-7)


def test_a_matrix_of_one_input_never_changes(backend: str) -> None:
    """E = 1: the softmax over one number is 1, so what is stored is what should be stored."""
    inputs = draw(RECURRENCES["srwm"], Sizes(2, 6, 1, 1, 3))
    y, shift = ops.srwm(**inputs, backend=backend)
    assert torch.equal(shift, inputs["state"])
    torch.testing.assert_close(y, inputs["x"] * (inputs["weight"] + inputs["state"])[:, None, :, 0, :3], rtol=1e-6, atol=1e-7)


def test_the_delta_rule_replaces_what_it_stored(backend: str) -> None:
    """Orthogonal keys written with rate 1 return the last value of each."""
    k = torch.eye(3)[[0, 1, 0, 2]].reshape(1, 4, 1, 3)
    v = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]]).reshape(1, 4, 1, 2)
    y, state = ops.delta_rule(k, k, v, torch.ones(1, 4, 1), backend=backend)
    assert torch.equal(y, v)
    assert torch.equal(state[0, 0], torch.tensor([[5.0, 6], [3, 4], [7, 8]]))


def test_linear_attention_adds_up_what_it_stored(backend: str) -> None:
    k = torch.eye(3)[[0, 1, 0, 2]].reshape(1, 4, 1, 3)
    v = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8]]).reshape(1, 4, 1, 2)
    y, state = ops.linear_attention(k, k, v, backend=backend)
    assert torch.equal(y[0, :, 0], torch.tensor([[1.0, 2], [3, 4], [6, 8], [7, 8]]))
    assert torch.equal(state[0, 0], torch.tensor([[6.0, 8], [3, 4], [7, 8]]))


def test_a_decay_shrinks_what_was_stored_before_it_is_read_and_written(backend: str) -> None:
    k = torch.eye(2)[[0, 1, 0]].reshape(1, 3, 1, 2)
    v = torch.tensor([[4.0, 8], [2, 2], [1, 1]]).reshape(1, 3, 1, 2)
    decay = torch.tensor([0.0, 0.5, 0.5]).reshape(1, 3, 1)
    _, state = ops.linear_attention(k, k, v, decay=decay, backend=backend)
    assert torch.equal(state[0, 0], torch.tensor([[2.0, 3], [1, 1]]))  # 4 / 4 + 1, 8 / 4 + 1; 2 / 2
    _, state = ops.delta_rule(k, k, v, torch.full((1, 3, 1), 0.5), decay=decay, backend=backend)
    assert torch.equal(state[0, 0], torch.tensor([[0.75, 1.0], [0.5, 0.5]]))  # (2 / 4 + 1) / 2, (4 / 4 + 1) / 2; 1 / 2


def test_rates_up_to_two_reflect_what_was_stored(backend: str) -> None:
    k, zero = torch.tensor([1.0, 0]).expand(1, 2, 1, 2), torch.zeros(1, 1, 1, 2)
    v = torch.cat([torch.tensor([3.0, 5]).view(1, 1, 1, 2), zero], 1)
    _, state = ops.delta_rule(k, k, v, torch.tensor([1.0, 2]).view(1, 2, 1), backend=backend)
    assert torch.equal(state[0, 0], torch.tensor([[-3.0, -5], [0, 0]]))


def test_saturated_gates(backend: str) -> None:
    """Logits of ±200: softmaxes are one-hot, rates 0 or 1, and nothing overflows. One step moves a column onto another."""
    weight = torch.zeros(1, 3, 2 + 6 + 4)
    weight[0, :, :2] = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    weight[0, 0, 2:5] = torch.tensor([0.0, 200, -200])  # the query is input 1
    weight[0, 0, 5:8] = torch.tensor([200.0, -200, 0])  # the key is input 0
    weight[0, 0, 8:] = torch.tensor([200.0, -200, -200, -200])  # only the y columns are written
    x = torch.tensor([1.0, 0, 0]).expand(1, 2, 1, 3)
    x.requires_grad_()
    y, shift = ops.srwm(x, weight, backend=backend)
    wanted = torch.zeros(1, 1, 3, 12)
    wanted[0, 0, 0, :2] = torch.tensor([2.0, 2])
    torch.testing.assert_close(shift, wanted, rtol=0, atol=0)
    torch.testing.assert_close(y[0, :, 0], torch.tensor([[1.0, 2], [3, 4]]), rtol=0, atol=0)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.isfinite(grad).all()
