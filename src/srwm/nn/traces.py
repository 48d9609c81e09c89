"""Learning rates and shifts of a self-referential matrix at each step."""

from collections.abc import Iterator

import torch
from torch import Tensor

from srwm import ops
from srwm.nn.checks import check_input, check_state
from srwm.nn.srwm import SelfReferential
from srwm.nn.state import reset
from srwm.ops.checks import check_flags


@torch.no_grad()
def learning_rates(core: SelfReferential, x: Tensor, shift: Tensor | None = None, resets: Tensor | None = None) -> Tensor:
    """The learning rates sigma(b_t) of each step, from 0 to 1, without a gradient.

    Args:
        core: an `SRWM` or `SRDelta`.
        x: the core's inputs (B, T, d_model).
        shift: W - W_0 before the first step, (B, H, E, M); None is zeros.
        resets: (B, T) bool. True: the shift is zero before this step.

    Returns:
        (B, T, H, 4): one rate for each of the blocks of columns [y | q | k | beta].

    Raises:
        ValueError: the core is another one, or shapes do not fit.
    """
    steps = _steps(core, x, _first(core, x, shift, resets), resets)
    rates = [_rates(read, core.weight + before) for read, before, _ in steps]
    return torch.stack(rates, dim=1) if rates else x.new_zeros(len(x), 0, core.num_heads, 4)


def _rates(read: Tensor, matrix: Tensor) -> Tensor:
    """(B, H, 4) in the dtype in which the recurrence computes."""
    dtype = torch.promote_types(matrix.dtype, torch.float32)
    with torch.autocast(read.device.type, enabled=False):
        return (read[:, :, None].to(dtype) @ matrix[..., -4:].to(dtype)).squeeze(2).sigmoid()


@torch.no_grad()
def shifts_over_time(core: SelfReferential, x: Tensor, shift: Tensor | None = None, resets: Tensor | None = None) -> Tensor:
    """The shift W_t - W_0 before the first step and after each one, without a gradient.

    Args:
        core: an `SRWM` or `SRDelta`.
        x: the core's inputs (B, T, d_model).
        shift: W - W_0 before the first step, (B, H, E, M); None is zeros.
        resets: (B, T) bool. True: the shift is zero before this step.

    Returns:
        (B, T + 1, H, E, M).

    Raises:
        ValueError: the core is another one, or shapes do not fit.
    """
    first = _first(core, x, shift, resets)
    return torch.stack([first, *(after for _, _, after in _steps(core, x, first, resets))], dim=1)


def _first(core: SelfReferential, x: Tensor, shift: Tensor | None, resets: Tensor | None) -> Tensor:
    """The shift before the first step, after a check of all arguments."""
    if not isinstance(core, SelfReferential):
        raise ValueError(f"core: expected a self-referential one, SRWM or SRDelta, got {type(core).__name__}")
    check_input(x, "B T", core.d_input, core.parameters())
    check_flags("resets", resets, x)
    if shift is None:
        return core.weight.new_zeros(len(x), *core.weight.shape)
    check_state(shift, core.weight.shape, len(x), "shift")
    return shift


def _steps(core: SelfReferential, x: Tensor, shift: Tensor, resets: Tensor | None) -> Iterator[tuple[Tensor, ...]]:
    """For each step what the heads read, (B, H, E), and the shift before and after it."""
    heads = core._heads(x)
    for t in range(x.shape[1]):
        if resets is not None:
            shift = reset(shift, resets[:, t])
        _, after = ops.srwm(heads[:, t : t + 1], core.weight, shift, backend=core.backend)
        yield heads[:, t], shift, after
        shift = after
