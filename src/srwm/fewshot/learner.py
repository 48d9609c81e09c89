"""What a training run is made of, built from its configuration."""

import torch
from torch import Tensor, nn

from srwm.data import ImageClasses, Split, UserError
from srwm.fewshot.auxiliary import build_auxiliary
from srwm.fewshot.config import OptimizerConfig, TrainConfig
from srwm.fewshot.episodes import Episodes, EpisodeSampler, EpisodeShape, PooledSampler, Sampler, draw_episodes
from srwm.fewshot.evaluate import answer
from srwm.fewshot.model import EpisodeModel, FewShotModel, ModelConfig
from srwm.fewshot.prototypes import PrototypicalNetwork


class EpisodeLearner(nn.Module):
    """One forward pass of training: images (P, C, H, W) in [0, 1] and episodes over them -> logits (B, Q, N).

    Every image is embedded once. With `bfloat16` convolutions and linear layers run under autocast, recurrences in float32.
    `auxiliary` is a loss of features and classes (its weights train along), or None.
    """

    def __init__(self, model: EpisodeModel, precision: str, auxiliary: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model
        self.auxiliary = auxiliary
        self.autocast = precision == "bfloat16"

    def forward(self, images: Tensor, classes: Tensor, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """Answer every query of every episode; beside the logits, the auxiliary loss, (), of the images of these classes."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.autocast):
            features = self.model.embed(images)
            logits = answer(self.model, features, episodes).float()
        loss = logits.new_zeros(()) if self.auxiliary is None else self.auxiliary(features.float(), classes)
        return logits, loss


def build_model(config: ModelConfig) -> EpisodeModel:
    """A learner whose convolution kernels lie channels last in memory, the fastest order on CPUs.

    Raises UserError for a configuration that does not fit itself.
    """
    try:
        model = PrototypicalNetwork(config) if config.head == "prototypes" else FewShotModel(config)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    for parameter in model.stem.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def check_config(config: TrainConfig, splits: dict[Split, ImageClasses]) -> None:
    """Raise UserError where the configuration does not fit itself or the data."""
    if config.steps is None and config.minutes is None:
        raise UserError("no end to training: give --steps or --minutes")
    for name, value in (("steps", config.steps), ("minutes", config.minutes), ("log_every", config.log_every)):
        if value is not None and value <= 0:
            raise UserError(f"{name}: expected a number above 0, got {value}")
    counts = ("validate_every", "episodes", "queries", "k_shot", "validation_episodes", "validation_queries")
    for name in counts:
        if getattr(config, name) < 1:
            raise UserError(f"{name}: expected 1 or more, got {getattr(config, name)}")
    if config.average_decay is not None and not 0 <= config.average_decay < 1:
        raise UserError(f"average_decay: expected a number from 0 up to, not with, 1, got {config.average_decay}")
    if config.model.head == "prototypes" and config.model.stem == "none":
        raise UserError("model: a prototypical network without a stem has no weights to train")
    image_shape = splits["train"].image_shape
    if tuple(config.model.image_shape) != image_shape:
        raise UserError(f"model.image_shape is {tuple(config.model.image_shape)}, the images are {image_shape}")
    try:
        build_auxiliary(config.auxiliary, num_features=1, num_classes=1)
    except ValueError as error:
        raise UserError(str(error)) from error
    build_sampler(config, splits["train"], torch.Generator()).sample()
    for split in ("val", "test"):
        draw_episodes(torch.from_numpy(splits[split].offsets), validation_shape(config), 1, torch.Generator())


def build_sampler(config: TrainConfig, data: ImageClasses, generator: torch.Generator) -> Sampler:
    """The sampler of training steps; `generator` is its state."""
    if config.sampler == "per-episode":
        return EpisodeSampler(data, config.shape, config.episodes, generator)
    pool = config.pool
    return PooledSampler(
        data, config.shape, config.episodes, generator, classes=pool.classes, images_per_class=pool.images_per_class
    )


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay on everything but biases, norms and other vectors."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def validation_shape(config: TrainConfig) -> EpisodeShape:
    """Episodes as in training, with the number of queries of a validation."""
    return EpisodeShape(config.model.n_way, config.k_shot, config.validation_queries)
