"""The doors of the operations: check the arguments, choose the backend, convert dtypes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from srwm.ops import reference
from srwm.ops.backend import runs_native
from srwm.ops.checks import check_device, check_flags, check_rank, check_shape, computing_dtype
from srwm.ops.native import fast_weights  # noqa: F401  registers the operators
from srwm.ops.native.self_reference import num_threads


def srwm(
    x: Tensor,
    weight: Tensor,
    shift: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """A self-referential weight matrix reads a sequence and rewrites itself at every step (Irie et al. 2022, eqs. 5-8).

    Arguments:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4), used as x @ W_0; columns are [y | q | k | beta].
        shift: W - W_0 carried in (B, H, E, D + 2E + 4); None is zeros.
        resets: (B, T) bool; True where an episode begins: the shift is zero before this step's x is read.
        mask: (B, T) bool; False where a step is padding: it neither reads nor writes, its y is 0. A reset there still resets.
        backend: "auto", "native" (compiled, CPU, float32) or "reference" (plain PyTorch). A named backend never falls back.

    Returns:
        y (B, T, H, D) in x's dtype, read before each step's write, and the shift after the last step, float32 (float64 when x
        and weight are). Both are differentiable in x, weight and shift, twice and more. ‖W‖ is not bounded: watch the shift.

    Raises:
        ValueError: a shape, dtype or device does not fit; the message names it.
        RuntimeError: backend "native" where the library was not compiled.

    Example:
        >>> x, weight = torch.randn(2, 10, 4, 16), torch.randn(4, 16, 3 * 16 + 4) / 4
        >>> y, shift = srwm(x, weight)                    # (2, 10, 4, 16), (2, 4, 16, 52)
        >>> y, shift = srwm(x, weight, shift)             # ten more steps
    """
    _check_srwm("x", x, "(B, T, H, E)", weight, shift)
    check_flags("resets", resets, x)
    check_flags("mask", mask, x)
    dtype = computing_dtype(x=x, weight=weight, shift=shift)
    native = runs_native(backend, x, dtype)
    inputs = (_converted(x, dtype), _converted(weight, dtype), _converted(shift, dtype))
    if not native:
        with without_autocast(x):
            y, shift = reference.srwm(*inputs, resets, mask)
    elif _needs_grad(inputs):
        y, shift, _, _ = torch.ops.srwm.srwm_training.default(*inputs, resets, mask, num_threads())
    else:
        y, shift = torch.ops.srwm.srwm_inference.default(*inputs, resets, mask, num_threads())
    return _converted(y, x.dtype), shift


def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Fast weights under the delta rule: state += beta k (v - k state), then y = q state (Schlag et al. 2021).

    Arguments:
        q: queries (B, T, H, E), already through their activation.
        k: keys (B, T, H, E), likewise.
        v: values (B, T, H, D).
        beta: learning rates (B, T, H), already through the sigmoid.
        state: carried in (B, H, E, D); None is zeros.
        resets: (B, T) bool; True where the state is zero before this step.
        mask: (B, T) bool; False where a step is padding, as in `srwm`.
        backend: as in `srwm`.

    Returns:
        y (B, T, H, D) in q's dtype, read after each step's write, and the state after the last step, float32 (or float64).

    Raises:
        ValueError: a shape, dtype or device does not fit; the message names it.
        RuntimeError: backend "native" where the library was not compiled.
    """
    if beta is None:  # the same call as that of linear attention, from here on
        raise ValueError("beta: expected (B, T, H), got None")
    return _fast_weights(q, k, v, beta, state, resets, mask, backend)


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Additive fast weights: state += k v, then y = q state (linear attention without a normalizer).

    Arguments, results and errors as in `delta_rule`, without beta.
    """
    return _fast_weights(q, k, v, None, state, resets, mask, backend)


def srwm_query(x: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    """What W_0 + shift answers to Q independent queries, without being rewritten.

    Shapes: x (B, Q, H, E), weight (H, E, D + 2E + 4), shift (B, H, E, D + 2E + 4). Returns y (B, Q, H, D) in x's dtype: equal
    to the y of Q separate one-step calls of `srwm`. Raises ValueError as `srwm` does.
    """
    _check_srwm("x", x, "(B, Q, H, E)", weight, shift)
    check_rank("shift", shift, "(B, H, E, D + 2E + 4)")
    dtype = computing_dtype(x=x, weight=weight, shift=shift)
    with without_autocast(x):
        return reference.srwm_query(x.to(dtype), weight.to(dtype), shift.to(dtype)).to(x.dtype)


def delta_rule_query(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor) -> Tensor:
    """What one next step of `delta_rule` would answer from `state`, for Q independent queries.

    Shapes: q, k (B, Q, H, E), v (B, Q, H, D), beta (B, Q, H), state (B, H, E, D). Returns y (B, Q, H, D) in q's dtype. Raises
    ValueError as `delta_rule` does.
    """
    dtype = _check_fast_weights(q, k, v, beta, state, "Q")
    check_rank("beta", beta, "(B, Q, H)")
    check_rank("state", state, "(B, H, E, D)")
    with without_autocast(q):
        return reference.delta_rule_query(*(a.to(dtype) for a in (q, k, v, beta, state))).to(q.dtype)


def linear_attention_query(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> Tensor:
    """What one next step of `linear_attention` would answer from `state`; as `delta_rule_query`, without beta."""
    dtype = _check_fast_weights(q, k, v, None, state, "Q")
    check_rank("state", state, "(B, H, E, D)")
    with without_autocast(q):
        return reference.linear_attention_query(*(a.to(dtype) for a in (q, k, v, state))).to(q.dtype)


def _converted(tensor: Any, dtype: torch.dtype) -> Any:
    """`tensor`, or None, in `dtype`."""
    return tensor if tensor is None or tensor.dtype is dtype else tensor.to(dtype)


def _needs_grad(inputs: tuple[Tensor | None, ...]) -> bool:
    return torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in inputs)


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Where autocast is off for x's device, if the device has it at all."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


def _check_srwm(name: str, x: Tensor, letters: str, weight: Tensor, shift: Tensor | None) -> None:
    check_rank(name, x, letters)
    check_rank("weight", weight, "(H, E, D + 2E + 4)")
    batch, _, heads, e = x.shape
    columns = weight.shape[2]
    if e < 1:
        raise ValueError(f"{name}: expected {letters} with E >= 1, got {tuple(x.shape)}")
    if columns < 2 * e + 5:
        raise ValueError(f"weight: expected (H, E, D + 2E + 4) with D >= 1 for E = {e}, got {tuple(weight.shape)}")
    check_shape("weight", weight, "(H, E, D + 2E + 4)", (heads, e, columns))
    check_device("weight", weight, x)
    if shift is not None:
        check_shape("shift", shift, "(B, H, E, D + 2E + 4)", (batch, heads, e, columns))
        check_device("shift", shift, x)


def _check_fast_weights(q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None, state: Tensor | None, steps: str) -> torch.dtype:
    check_rank("q", q, f"(B, {steps}, H, E)")
    check_rank("v", v, f"(B, {steps}, H, D)")
    batch, length, heads, e = q.shape
    d = v.shape[3]
    if e < 1 or d < 1:
        raise ValueError(f"q, v: expected E >= 1 and D >= 1, got {tuple(q.shape)} and {tuple(v.shape)}")
    check_shape("k", k, f"(B, {steps}, H, E)", q.shape)
    check_shape("v", v, f"(B, {steps}, H, D)", (batch, length, heads, d))
    if beta is not None:
        check_shape("beta", beta, f"(B, {steps}, H)", (batch, length, heads))
    if state is not None:
        check_shape("state", state, "(B, H, E, D)", (batch, heads, e, d))
    for name, tensor in {"k": k, "v": v, "beta": beta, "state": state}.items():
        if tensor is not None:
            check_device(name, tensor, q)
    return computing_dtype(q=q, k=k, v=v, beta=beta, state=state)


def _fast_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    dtype = _check_fast_weights(q, k, v, beta, state, "T")
    check_flags("resets", resets, q)
    check_flags("mask", mask, q)
    native = runs_native(backend, q, dtype)
    beta, state = _converted(beta, dtype), _converted(state, dtype)
    inputs = (_converted(q, dtype), _converted(k, dtype), _converted(v, dtype), beta, state)
    if not native:
        with without_autocast(q):
            y, state = reference.fast_weights(*inputs, resets, mask)
    elif _needs_grad(inputs):
        y, state, _ = torch.ops.srwm.fast_weights_training.default(*inputs, resets, mask)
    else:
        y, state = torch.ops.srwm.fast_weights_inference.default(*inputs, resets, mask)
    return _converted(y, q.dtype), state
