"""Few-shot models from their configurations."""

from dataclasses import replace

import torch

from srwm.errors import UserError
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.config import HeadName, ModelConfig
from srwm.fewshot.models.prototypes import PrototypicalNetwork
from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.models.sequence import FewShotModel
from srwm.training.modes import float32_defaults

_KINDS: dict[str, type[EpisodeModel]] = {
    "memory": FewShotModel,
    "prototypes": PrototypicalNetwork,
    "residual": ResidualModel,
}


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
    if config.head not in _KINDS:
        raise UserError(f"model: head: expected {' or '.join(_KINDS)}, got {config.head!r}")
    try:
        with float32_defaults(device):
            model = _KINDS[config.head](config)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"model: {error}") from error
    for parameter in model.stem.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def with_head(model: ResidualModel, head: HeadName, n_way: int | None = None) -> EpisodeModel:
    """One head of a model with all three, as a model of its own. The tensors are shared.

    Args:
        model: the model.
        head: the head.
        n_way: number of classes, which is free for `prototypes`; None: that of the model.

    Returns:
        A model in the same mode.

    Raises:
        ValueError: another head has another number of classes.
    """
    if head != "prototypes" and n_way not in (None, model.config.n_way):
        raise ValueError(f"n_way: expected {model.config.n_way} with the head {head}, got {n_way}")
    config = replace(model.config, head=head, n_way=n_way or model.config.n_way, class_means="learned")
    view, tensors = build_model(config, "meta"), model.state_dict()
    view.load_state_dict({name: tensors[name] for name in view.state_dict()}, assign=True)
    view.metadata = model.metadata
    return view.train(model.training)


def with_all_heads(model: FewShotModel | PrototypicalNetwork) -> ResidualModel:
    """A model with the weights of another, and with all heads: those that it lacks are untrained.

    Args:
        model: the model, which stays as it is. Class means bring the memory that their configuration names, untrained.

    Returns:
        The model, with its metadata, in evaluation mode.
    """
    made = build_model(replace(model.config, head="residual", class_means="learned"))
    assert isinstance(made, ResidualModel)
    made.load_state_dict({**made.state_dict(), **model.state_dict()})
    made.metadata = model.metadata
    return made.eval()
