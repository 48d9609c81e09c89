"""Checks of tensors for NaN and infinity."""

from collections.abc import Iterable

from torch import Tensor, nn


class NotFiniteError(ArithmeticError):
    """A tensor has NaN or infinity.

    Args:
        name: the name of the tensor, also an attribute.
        tensor: the tensor.
    """

    def __init__(self, name: str, tensor: Tensor) -> None:
        bad = int((~tensor.isfinite()).sum())
        super().__init__(f"{name}: {bad} of {tensor.numel()} numbers are NaN or infinite")
        self.name = name


def check_finite(tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Check that tensors are finite.

    Args:
        tensors: names and tensors.

    Raises:
        NotFiniteError: one is not; the message names the first, and the number of its values that are not finite.
    """
    for name, tensor in tensors:
        if not tensor.isfinite().all():
            raise NotFiniteError(name, tensor)


def named_weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    """A model's parameters with names, for `check_finite`.

    Args:
        model: the model.

    Returns:
        Names and parameters.
    """
    return [(f"weights {name}", parameter) for name, parameter in model.named_parameters()]
