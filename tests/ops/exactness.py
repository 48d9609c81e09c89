"""The criterion by which a float32 kernel is exact: held against the float64 reference, beside the float32 loop's own error."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .recurrences import relative_error

LOST = 1e-3  # where the float32 loop itself is this far off, the dynamics have amplified rounding beyond use


class Error(NamedTuple):
    """How far one tensor of one draw is from the float64 reference: the kernel's, and the plain float32 loop's."""

    name: str
    kernel: float
    loop: float
    bound: float
    finite: bool

    @property
    def qualifies(self) -> bool:
        """Whether the loop shows that float32 can be exact here."""
        return self.loop <= self.bound / 3

    @property
    def holds(self) -> bool:
        if self.qualifies:
            return self.kernel <= self.bound
        return self.finite if self.loop > LOST else self.kernel <= 4 * self.loop

    def __str__(self) -> str:
        kind = "" if self.qualifies else " (lost in float32)" if self.loop > LOST else " (amplified)"
        return f"{self.name}: kernel {self.kernel:.1e}, loop {self.loop:.1e}, bound {self.bound:.1e}{kind}"


def bound(steps: int) -> float:
    """The relative error that a kernel may have after so many steps."""
    return 1e-5 if steps >= 1000 else 3e-7 * math.sqrt(steps) + 1e-6


def compare(kernel: dict[str, Tensor], loop: dict[str, Tensor], exact: dict[str, Tensor], *, steps: int) -> list[Error]:
    """The errors of every tensor of one draw."""
    return [
        Error(
            name,
            relative_error(kernel[name], wanted),
            relative_error(loop[name], wanted),
            bound(steps),
            bool(torch.isfinite(kernel[name]).all()),
        )
        for name, wanted in exact.items()
    ]
