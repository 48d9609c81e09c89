"""What every operation does around its kernel: dtypes, autocast, and whether gradients are asked for."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def converted(tensor: Any, dtype: torch.dtype) -> Any:
    """`tensor`, or None, in `dtype`."""
    return tensor if tensor is None or tensor.dtype is dtype else tensor.to(dtype)


def needs_grad(inputs: Sequence[Tensor | None]) -> bool:
    """Whether autograd will want a backward of what is computed from `inputs`."""
    return torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in inputs)


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Where autocast is off for x's device, if the device has it at all."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
