"""The calls of a model of streams: one stream, arrays in, arrays out."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from srwm.learner.streams.encoder import Encoded
from srwm.nn import State
from srwm.streams.model import StreamModel


@torch.no_grad()
def show(model: StreamModel, samples: Encoded, labels: list[int], state: State, device: torch.device) -> State:
    """Show samples with their labels, one after the other.

    Args:
        model: The model.
        samples: T samples.
        labels: The class slot of each.
        state: The model's state before them.
        device: The device of the model.

    Returns:
        The state after them.
    """
    x, present = _tensors(samples, device)
    return model(x, present, torch.tensor([labels], device=device), state)[1]


@torch.inference_mode()
def ask(model: StreamModel, samples: Encoded, state: State, device: torch.device) -> NDArray[Any]:
    """The logits of samples, each as if it were the next one.

    Args:
        model: The model.
        samples: Q samples.
        state: The model's state, which does not change.
        device: The device of the model.

    Returns:
        (Q, num_classes); -inf for classes that were not shown.
    """
    logits: NDArray[Any] = model.query(*_tensors(samples, device), state)[0].cpu().numpy()
    return logits


def _tensors(samples: Encoded, device: torch.device) -> tuple[Tensor, Tensor]:
    x, present = (torch.from_numpy(part[None]) for part in samples)
    return (x, present) if device.type == "cpu" else (x.to(device), present.to(device))
