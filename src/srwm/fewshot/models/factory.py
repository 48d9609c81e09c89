"""Few-shot models from their configurations."""

import torch

from srwm.errors import UserError
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.prototypes import PrototypicalNetwork
from srwm.fewshot.models.sequence import FewShotModel
from srwm.training.modes import float32_defaults


def build_model(config: ModelConfig, device: str = "cpu") -> EpisodeModel:
    """Build a model. Its convolution kernels are channels last in memory, the fastest format on CPUs.

    Args:
        config: the model.
        device: the device of its tensors; on "meta" they have no data.

    Returns:
        The model, float32, whatever PyTorch's defaults are.

    Raises:
        UserError: the configuration is inconsistent.
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
