"""Finding NaN and infinity in tensors."""

from collections.abc import Iterable

from torch import Tensor, nn


class NotFiniteError(ArithmeticError):
    """A tensor holds NaN or infinity; the message names it, and `name` is that name."""

    def __init__(self, name: str, tensor: Tensor) -> None:
        bad = int((~tensor.isfinite()).sum())
        super().__init__(f"{name}: {bad} of {tensor.numel()} numbers are NaN or infinite")
        self.name = name


def check_finite(tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raise NotFiniteError that names the first tensor that is not finite, and says how much of it is not."""
    for name, tensor in tensors:
        if not tensor.isfinite().all():
            raise NotFiniteError(name, tensor)


def named_weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    """A model's parameters with names for `check_finite`."""
    return [(f"weights {name}", parameter) for name, parameter in model.named_parameters()]
