"""A few-shot model with a memory: image stem, input, stack of blocks, classifier."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import torch
from torch import Tensor, nn

from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.inputs import NO_LABEL, BalancedInput, PaperInput
from srwm.nn import Stack, State

if TYPE_CHECKING:
    from srwm.learner.pretrained import HubOptions


class FewShotModel(EpisodeModel):
    """Reads labeled images one after the other and predicts the label of each from its features and what it read before.

    The state is the stack's.

    Args:
        config: the model.

    Raises:
        ValueError: the configuration does not fit itself.
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

    def _run(
        self, features: Tensor, labels: Tensor, state: State | None, resets: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State]:
        y, state = self.stack(self._encode(features, labels), state, resets, mask)
        return self.out_layer(y), state

    def _learn(self, features: Tensor, labels: Tensor, state: State | None) -> State:
        return self.stack(self._encode(features, labels), state)[1]

    def _query(self, features: Tensor, state: State | None) -> Tensor:
        labels = torch.full(features.shape[:2], NO_LABEL, dtype=torch.long, device=features.device)
        logits: Tensor = self.out_layer(self.stack.query(self._encode(features, labels), state))
        return logits

    def save_pretrained(self, folder: str | Path, *, dtype: Literal["float32", "float16", "bfloat16"] = "float32") -> None:
        """Write `config.json`, `model.safetensors` and a model card; `metadata` go along, so set them before.

        A README.md that is no card as this writes it, or that was changed since, stays; a warning says so. Parameters are
        stored in `dtype`, buffers in their own. Raises UserError where the folder cannot be written or is a run's, ValueError
        for another `dtype` or weights beyond its range.
        """
        from srwm.learner import pretrained

        pretrained.save(self, Path(folder), dtype)

    @classmethod
    def from_pretrained(cls, name: str | Path = "characters", **hub: "Unpack[HubOptions]") -> "FewShotModel":
        """A model in evaluation mode, float32, on the CPU.

        `name` is the name of a checkpoint that comes with the package; else a folder that `save_pretrained` wrote, or a run
        folder of `srwm fewshot train` (its best weights); else a repository of the Hugging Face Hub, `user/name`, for which
        `hub` takes revision, token, cache_dir, force_download and local_files_only. Only the last needs `srwm[hub]` and a
        network; a `Path` is always a folder. Nothing that could execute code is read. Raises UserError where there is no
        such model, or it is corrupt or of another version, TypeError for other options.
        """
        from srwm.learner import pretrained

        return pretrained.load(name, **hub)

    def push_to_hub(self, repo_id: str, *, dtype: Literal["float32", "float16", "bfloat16"] = "float32", **options: Any) -> str:
        """Upload to the Hugging Face Hub what `save_pretrained` writes, and return the commit's address.

        It takes the place of what is there, a README.md too. `options` are those of
        `huggingface_hub.ModelHubMixin.push_to_hub`: private, token, branch, commit_message... Raises UserError without
        `srwm[hub]`, or where the Hub does not take it.
        """
        from srwm.learner import pretrained

        return pretrained.push(self, repo_id, dtype, **options)


def _input(config: ModelConfig, num_features: int) -> PaperInput | BalancedInput:
    if config.input == "paper":
        return PaperInput(num_features, config.n_way, config.stack.d_model if config.input_projection else None)
    if config.input != "balanced":
        raise ValueError(f"input: expected paper or balanced, got {config.input!r}")
    if not config.input_projection:
        raise ValueError("input_projection: expected True with the balanced input, got False")
    return BalancedInput(num_features, config.n_way, config.stack.d_model)
