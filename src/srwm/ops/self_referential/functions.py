"""Public functions of the self-referential weight matrix. They check arguments, choose the backend and convert dtypes."""

import torch
from torch import Tensor

from srwm.ops.backend import runs_kernels
from srwm.ops.checks import check_device, check_flags, check_rank, check_shape, computing_dtype
from srwm.ops.dispatch import converted, needs_grad, without_autocast
from srwm.ops.self_referential import (
    cpu,  # noqa: F401  registers the kernels
    cuda,  # noqa: F401  as well
    reference,
)


def srwm(
    x: Tensor,
    weight: Tensor,
    state: Tensor | None = None,
    resets: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """A self-referential weight matrix reads a sequence and rewrites itself at every step (Irie et al. 2022, eqs. 5-8).

    Args:
        x: inputs (B, T, H, E).
        weight: W_0 (H, E, D + 2E + 4), used as x @ W_0; columns are [y | q | k | beta].
        state: initial state, the shift W - W_0 (B, H, E, D + 2E + 4); None is zeros.
        resets: (B, T) bool; True: an episode begins, and the shift is zero before this step's x is read.
        mask: (B, T) bool; False: a padded step, which neither reads nor writes; its y is 0. A reset there still resets.
        backend: "auto", "native" (compiled, CPU, float32), "triton" (CUDA, float32; not yet run on a GPU) or "reference"
            (plain PyTorch). A named backend never falls back.

    Returns:
        y (B, T, H, D) in x's dtype, read before each step's write, and the shift after the last step, float32 (float64 when x
        and weight are). Both are differentiable in x, weight and state, any number of times. ‖W‖ is not bounded: monitor it
        over long sequences.

    Raises:
        ValueError: a shape, dtype or device does not fit, or the backend does not exist; the message names it.
        RuntimeError: backend "native" where the library was not compiled, "triton" where Triton is not installed.

    Example:
        >>> x, weight = torch.randn(2, 10, 4, 16), torch.randn(4, 16, 3 * 16 + 4) / 4
        >>> y, state = srwm(x, weight)                    # (2, 10, 4, 16), (2, 4, 16, 52)
        >>> y, state = srwm(x, weight, state)             # ten more steps
    """
    _check(x, "(B, T, H, E)", weight, state)
    check_flags("resets", resets, x)
    check_flags("mask", mask, x)
    if backend == "chunked":
        raise ValueError("backend: 'chunked' serves delta_rule and linear_attention; srwm reads and writes step by step")
    dtype = computing_dtype(x=x, weight=weight, state=state)
    e, columns = weight.shape[1:]
    kernels = runs_kernels(backend, "self_referential_inference", x, dtype, e, columns - 2 * e - 4)
    inputs = (converted(x, dtype), converted(weight, dtype), converted(state, dtype))
    if not kernels:
        with without_autocast(x):
            y, state = reference.srwm(*inputs, resets, mask)
    elif needs_grad(inputs):
        y, state, _, _ = torch.ops.srwm.self_referential_training.default(*inputs, resets, mask)
    else:
        y, state = torch.ops.srwm.self_referential_inference.default(*inputs, resets, mask)
    return converted(y, x.dtype), state


def srwm_query(x: Tensor, weight: Tensor, state: Tensor) -> Tensor:
    """The outputs of W_0 + state for Q independent queries. The state does not change.

    Args:
        x: queries (B, Q, H, E).
        weight: W_0 (H, E, D + 2E + 4).
        state: the shift W - W_0 (B, H, E, D + 2E + 4).

    Returns:
        y (B, Q, H, D) in x's dtype: equal to the y of Q separate one-step calls of `srwm`.

    Raises:
        ValueError: a shape, dtype or device does not fit; the message names it.
    """
    _check(x, "(B, Q, H, E)", weight, state)
    check_rank("state", state, "(B, H, E, D + 2E + 4)")
    dtype = computing_dtype(x=x, weight=weight, state=state)
    with without_autocast(x):
        return reference.srwm_query(x.to(dtype), weight.to(dtype), state.to(dtype)).to(x.dtype)


def _check(x: Tensor, letters: str, weight: Tensor, state: Tensor | None) -> None:
    check_rank("x", x, letters)
    check_rank("weight", weight, "(H, E, D + 2E + 4)")
    batch, _, heads, e = x.shape
    columns = weight.shape[2]
    if e < 1:
        raise ValueError(f"x: expected {letters} with E >= 1, got {tuple(x.shape)}")
    if columns < 2 * e + 5:
        raise ValueError(f"weight: expected (H, E, D + 2E + 4) with D >= 1 for E = {e}, got {tuple(weight.shape)}")
    check_shape("weight", weight, "(H, E, D + 2E + 4)", (heads, e, columns))
    check_device("weight", weight, x)
    if state is not None:
        check_shape("state", state, "(B, H, E, D + 2E + 4)", (batch, heads, e, columns))
        check_device("state", state, x)
