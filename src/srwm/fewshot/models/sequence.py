"""A recurrent few-shot model: image stem, input encoding, stack of blocks, classifier."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.inputs import NO_LABEL, BalancedInput, CodedInput, PaperInput
from srwm.nn import Stack, State


class FewShotModel(EpisodeModel):
    """A recurrent few-shot model: it reads labeled images one by one and predicts labels from its state.

    The state is that of the stack.

    Args:
        config: the model.

    Raises:
        ValueError: the configuration is inconsistent.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.input = _input(config, self.num_features)
        self.stack = Stack(replace(config.stack, d_input=self.input.width))
        self.out_layer = nn.Linear(config.stack.d_model, config.n_way)

    def encode(self, features: Tensor, labels: Tensor) -> Tensor:
        """Inputs of the stack.

        Args:
            features: (B, T, F) that `embed` gave.
            labels: (B, T) int64, -1 (no label) to N - 1.

        Returns:
            (B, T, d_model).

        Raises:
            ValueError: shapes or labels do not fit.
        """
        self._check_steps(features, labels)
        return self._encode(features, labels)

    def _encode(self, features: Tensor, labels: Tensor) -> Tensor:
        encoded: Tensor = self.input(features.to(self.out_layer.weight.dtype), labels)
        return encoded

    def learn_memory(self, features: Tensor, labels: Tensor, state: State | None) -> State:
        """The state of the stack after labeled features, which are not checked.

        Args:
            features: (B, T, F).
            labels: (B, T) int64, -1 (no label) to N - 1.
            state: the state of the stack to continue from; None is a fresh one.

        Returns:
            The state.
        """
        return self.stack(self._encode(features, labels), state)[1]

    def query_memory(self, features: Tensor, state: State | None) -> Tensor:
        """The memory's logits of unlabeled features, which are not checked.

        Args:
            features: (B, Q, F).
            state: the state of the stack; None is a fresh one.

        Returns:
            (B, Q, N).
        """
        labels = torch.full(features.shape[:2], NO_LABEL, dtype=torch.long, device=features.device)
        logits: Tensor = self.out_layer(self.stack.query(self._encode(features, labels), state))
        return logits

    def _run(
        self, features: Tensor, labels: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        y, state = self.stack(self._encode(features, labels), state, resets, mask)
        return self.out_layer(y), state

    def _learn(self, features: Tensor, labels: Tensor, state: State | None) -> State:
        return self.learn_memory(features, labels, state)

    def _query(self, features: Tensor, state: State | None) -> Tensor:
        return self.query_memory(features, state)


def _input(config: ModelConfig, num_features: int) -> PaperInput | BalancedInput | CodedInput:
    if config.input == "paper":
        return PaperInput(num_features, config.n_way, config.stack.d_model if config.input_projection else None)
    if config.input not in ("balanced", "codes"):
        raise ValueError(f"input: expected paper, balanced or codes, got {config.input!r}")
    if not config.input_projection:
        raise ValueError(f"input_projection: expected True with the input {config.input!r}, got False")
    kind = BalancedInput if config.input == "balanced" else CodedInput
    return kind(num_features, config.n_way, config.stack.d_model)
