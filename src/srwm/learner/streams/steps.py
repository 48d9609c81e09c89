"""The calls of a model of streams: one stream, arrays in, arrays out."""

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srwm.learner.streams.encoder import Encoded
from srwm.ops.cpu import library
from srwm.streams.model import StreamModel, StreamState
from srwm.streams.native import NativeModel, PackedState

ComputedState: TypeAlias = StreamState | PackedState
"""A model's state of one stream, as the model or as the compiled library has it."""


class Steps:
    """Computes a model: one sample at a time by the compiled library, where it can, else by PyTorch.

    Args:
        model: The model, in evaluation mode. It must not change from here on.
    """

    def __init__(self, model: StreamModel) -> None:
        self.model = model
        self._device = next(model.parameters()).device
        is_native = library.LIBRARY is not None and NativeModel.supports(model)
        self._native = NativeModel(model) if is_native else None

    @torch.no_grad()
    def show(self, samples: Encoded, labels: list[int], state: ComputedState) -> ComputedState:
        """Show samples with their labels, one after the other.

        Args:
            samples: T samples.
            labels: The class slot of each.
            state: The state before them.

        Returns:
            The state after them.
        """
        if self._native is not None and len(labels) == 1:
            return self._native.example(samples.x[0], samples.present[0], labels[0], self._packed(self._native, state))
        after: StreamState = self.model(
            *self._tensors(samples), torch.tensor([labels], dtype=torch.long, device=self._device), self.model_state(state)
        )[1]
        return after

    @torch.inference_mode()
    def ask(self, samples: Encoded, state: ComputedState) -> NDArray[np.float32]:
        """The logits of samples, each as if it were the next one.

        Args:
            samples: Q samples.
            state: The state, which does not change.

        Returns:
            (Q, num_classes); -inf for classes that were not shown.
        """
        if self._native is not None and len(samples.x) == 1:
            return self._native.question(samples.x[0], samples.present[0], self._packed(self._native, state))[None]
        logits: NDArray[Any] = self.model.query(*self._tensors(samples), self.model_state(state))[0].cpu().numpy()
        return logits

    def model_state(self, state: ComputedState) -> StreamState:
        """The state as the model has it.

        Args:
            state: The state.

        Returns:
            The same state, on the model's device.
        """
        if isinstance(state, bytes):
            assert self._native is not None
            return self._native.unpacked(state)
        return state

    @staticmethod
    def _packed(native: NativeModel, state: ComputedState) -> PackedState:
        return state if isinstance(state, bytes) else native.packed(state)

    def _tensors(self, samples: Encoded) -> tuple[Tensor, Tensor]:
        x, present = (torch.from_numpy(part[None]) for part in samples)
        return x.to(self._device), present.to(self._device)
