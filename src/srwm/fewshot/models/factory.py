"""Few-shot models from their configurations."""

import torch

from srwm.errors import UserError
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.prototypes import PrototypicalNetwork
from srwm.fewshot.models.sequence import FewShotModel
from srwm.training.modes import float32_defaults


def build_model(config: ModelConfig, device: str = "cpu") -> EpisodeModel:
    """A model whose convolution kernels lie channels last in memory, the fastest order on CPUs.

    Args:
        config: what is built.
        device: where its tensors lie; on "meta" they have shapes and no numbers.

    Returns:
        The model, float32, whatever PyTorch's defaults are.

    Raises:
        UserError: the configuration does not fit itself.
    """
    try:
        with float32_defaults(device):
            model = PrototypicalNetwork(config) if config.head == "prototypes" else FewShotModel(config)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"model: {error}") from error
    for parameter in model.stem.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model
