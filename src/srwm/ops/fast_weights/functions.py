"""Public functions of fast weights. They check arguments, choose the backend and convert dtypes."""

import torch
from torch import Tensor

from srwm.ops.backend import runs_kernels
from srwm.ops.checks import check_device, check_flags, check_rank, check_shape, computing_dtype
from srwm.ops.dispatch import converted, needs_grad, without_autocast
from srwm.ops.fast_weights import (
    chunked,
    cpu,  # noqa: F401  registers the kernels
    cuda,  # noqa: F401  as well
    reference,
)

FEWEST_STEPS_OF_CHUNKED = 4
"""Where no kernel runs, shorter sequences are computed step by step: as fast, and nearer to the definition."""


def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    decay: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Fast weights under the delta rule: state += beta k (v - k state), then y = q state (Schlag et al. 2021).

    With a decay, the state is multiplied by it first: the gated delta rule (Yang et al. 2025).

    Args:
        q: queries (B, T, H, E), activation already applied.
        k: keys (B, T, H, E), activation already applied.
        v: values (B, T, H, D).
        beta: learning rates (B, T, H), sigmoid already applied: from 0 to 1, or to 2 for a write that reflects what is stored.
        state: initial state (B, H, E, D); None is zeros.
        resets: (B, T) bool; True: the state is zero before this step.
        mask: (B, T) bool; False: a padded step, which neither reads nor writes; its y is 0. A reset there still resets.
        decay: factors of the state (B, T, H), from 0 to 1; None: the state is kept.
        backend: "auto", "native" (compiled, CPU, float32), "triton" (CUDA, float32, E up to 256; not yet run on a GPU),
            "chunked" (plain PyTorch, a chunk of steps at once) or "reference" (plain PyTorch, step by step). "auto" takes the
            compiled kernels where they run, else "chunked". A named backend never falls back.

    Returns:
        y (B, T, H, D) in q's dtype, read after each step's write, and the state (B, H, E, D) after the last step, float32
            (float64 when all inputs are).

    Raises:
        ValueError: a shape, dtype or device does not fit; the message names it.
        RuntimeError: backend "native" where the library was not compiled, "triton" where Triton is not installed.
    """
    if beta is None:  # None would mean linear attention below
        raise ValueError("beta: expected (B, T, H), got None")
    return _fast_weights(q, k, v, beta, decay, state, resets, mask, backend)


def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    decay: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Additive fast weights: state += k v, then y = q state (linear attention without a normalizer).

    With a decay, the state is multiplied by it first.

    Args:
        q: queries (B, T, H, E), activation already applied.
        k: keys (B, T, H, E), activation already applied.
        v: values (B, T, H, D).
        state: initial state (B, H, E, D); None is zeros.
        resets: (B, T) bool; True: the state is zero before this step.
        mask: (B, T) bool; False: a padded step, which neither reads nor writes; its y is 0. A reset there still resets.
        decay: factors of the state (B, T, H), from 0 to 1; None: the state is kept.
        backend: as in `delta_rule`.

    Returns:
        y (B, T, H, D) in q's dtype, read after each step's write, and the state (B, H, E, D) after the last step, float32
            (float64 when all inputs are).

    Raises:
        ValueError: a shape, dtype or device does not fit; the message names it.
        RuntimeError: backend "native" where the library was not compiled, "triton" where Triton is not installed.
    """
    return _fast_weights(q, k, v, None, decay, state, resets, mask, backend)


def delta_rule_query(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: Tensor, *, decay: Tensor | None = None) -> Tensor:
    """The outputs of one next step of `delta_rule` for Q independent queries. The state does not change.

    Args:
        q: queries (B, Q, H, E), activation already applied.
        k: keys (B, Q, H, E), activation already applied.
        v: values (B, Q, H, D).
        beta: learning rates (B, Q, H), sigmoid already applied.
        state: the state (B, H, E, D).
        decay: factors of the state (B, Q, H); None: the state is kept.

    Returns:
        y (B, Q, H, D) in q's dtype: equal to the y of Q separate one-step calls of `delta_rule`.

    Raises:
        ValueError: a shape, dtype or device does not fit; the message names it.
    """
    if beta is None:  # None would mean linear attention below
        raise ValueError("beta: expected (B, Q, H), got NoneType")
    return _query(q, k, v, beta, decay, state)


def linear_attention_query(q: Tensor, k: Tensor, v: Tensor, state: Tensor, *, decay: Tensor | None = None) -> Tensor:
    """The outputs of one next step of `linear_attention` for Q independent queries. The state does not change.

    Args:
        q: queries (B, Q, H, E), activation already applied.
        k: keys (B, Q, H, E), activation already applied.
        v: values (B, Q, H, D).
        state: the state (B, H, E, D).
        decay: factors of the state (B, Q, H); None: the state is kept.

    Returns:
        y (B, Q, H, D) in q's dtype: equal to the y of Q separate one-step calls of `linear_attention`.

    Raises:
        ValueError: a shape, dtype or device does not fit; the message names it.
    """
    return _query(q, k, v, None, decay, state)


def _query(q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None, decay: Tensor | None, state: Tensor) -> Tensor:
    dtype = _check(q, k, v, beta, decay, state, "Q")
    check_rank("state", state, "(B, H, E, D)")
    with without_autocast(q):
        return reference.fast_weights_query(*(converted(a, dtype) for a in (q, k, v, beta, decay, state))).to(q.dtype)


def _check(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor | None, decay: Tensor | None, state: Tensor | None, steps: str
) -> torch.dtype:
    check_rank("q", q, f"(B, {steps}, H, E)")
    check_rank("v", v, f"(B, {steps}, H, D)")
    batch, length, heads, e = q.shape
    d = v.shape[3]
    if e < 1 or d < 1:
        raise ValueError(f"q, v: expected E >= 1 and D >= 1, got {tuple(q.shape)} and {tuple(v.shape)}")
    check_shape("k", k, f"(B, {steps}, H, E)", q.shape)
    check_shape("v", v, f"(B, {steps}, H, D)", (batch, length, heads, d))
    for name, tensor in {"beta": beta, "decay": decay}.items():
        if tensor is not None:
            check_shape(name, tensor, f"(B, {steps}, H)", (batch, length, heads))
    if state is not None:
        check_shape("state", state, "(B, H, E, D)", (batch, heads, e, d))
    for name, tensor in {"k": k, "v": v, "beta": beta, "decay": decay, "state": state}.items():
        if tensor is not None:
            check_device(name, tensor, q)
    return computing_dtype(q=q, k=k, v=v, beta=beta, decay=decay, state=state)


def _fast_weights(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    decay: Tensor | None,
    state: Tensor | None,
    resets: Tensor | None,
    mask: Tensor | None,
    backend: str,
) -> tuple[Tensor, Tensor]:
    dtype = _check(q, k, v, beta, decay, state, "T")
    check_flags("resets", resets, q)
    check_flags("mask", mask, q)
    kernels = runs_kernels(backend, "fast_weights_inference", q, dtype, q.shape[3], v.shape[3])
    beta, decay, state = converted(beta, dtype), converted(decay, dtype), converted(state, dtype)
    inputs = (converted(q, dtype), converted(k, dtype), converted(v, dtype), beta, decay, state)
    if not kernels:
        one_by_one = backend == "reference" or (backend == "auto" and q.shape[1] < FEWEST_STEPS_OF_CHUNKED)
        with without_autocast(q):
            y, state = (reference if one_by_one else chunked).fast_weights(*inputs, resets, mask)
    elif needs_grad(inputs):
        y, state, _ = torch.ops.srwm.fast_weights_training.default(*inputs, resets, mask)
    else:
        y, state = torch.ops.srwm.fast_weights_inference.default(*inputs, resets, mask)
    return converted(y, q.dtype), state
