"""Few-shot models from their configurations."""

import torch

from srwm.errors import UserError
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.prototypes import PrototypicalNetwork
from srwm.fewshot.models.sequence import FewShotModel


def build_model(config: ModelConfig) -> EpisodeModel:
    """A model whose convolution kernels lie channels last in memory, the fastest order on CPUs.

    Raises:
        UserError: the configuration does not fit itself.
    """
    try:
        model = PrototypicalNetwork(config) if config.head == "prototypes" else FewShotModel(config)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"model: {error}") from error
    for parameter in model.stem.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model
