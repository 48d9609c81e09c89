"""What a training run is made of, built from its configuration."""

import math
from dataclasses import replace

import torch
from torch import nn

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.config import OptimizerConfig, TrainConfig
from srwm.fewshot.episodes import Episodes, EpisodeSampler, EpisodeShape, PooledSampler, Sampler


def fit_to_data(config: TrainConfig, *data: ImageClasses) -> TrainConfig:
    """The configuration for the training classes of one or two data sets of equal image shape.

    It has the images' shape, and no larger a pool than each of them can fill.
    """
    pool = replace(
        config.pool,
        classes=min(config.pool.classes, *map(len, data)),
        images_per_class=min(config.pool.images_per_class, *(int(part.counts.min()) for part in data)),
    )
    return replace(config, model=replace(config.model, image_shape=data[0].image_shape), pool=pool)


def build_sampler(
    config: TrainConfig, shape: EpisodeShape, data: ImageClasses, generator: torch.Generator
) -> Sampler[Episodes]:
    """The sampler of training episodes of one shape; `generator` is its state."""
    if config.sampler == "per-episode":
        if config.pool.rotated:
            raise UserError("pool.rotated: only the pooled sampler turns classes")
        return EpisodeSampler(data, shape, config.episodes, generator)
    pool = config.pool
    return PooledSampler(
        data,
        shape,
        config.episodes,
        generator,
        classes=pool.classes,
        images_per_class=pool.images_per_class,
        min_ways=config.min_ways,
        max_shots=config.max_shots,
        rotated=pool.rotated,
    )


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay on everything but biases, norms and other vectors.

    Raises UserError for a number out of its range.
    """
    for name, value in {"lr": config.lr, "clip_norm": config.clip_norm}.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"optimizer.{name}: expected a number above 0, got {value}")
    if not 0 <= config.weight_decay < math.inf:
        raise UserError(f"optimizer.weight_decay: expected a number from 0 up, got {config.weight_decay}")
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    try:
        return torch.optim.AdamW(groups, lr=config.lr, betas=betas, eps=config.eps, fused=True)
    except ValueError as error:
        raise UserError(f"optimizer: {error}") from error


def validation_shape(config: TrainConfig) -> EpisodeShape:
    """Episodes as in training, with the numbers of classes and queries of a validation."""
    ways = config.validation_ways
    if ways is None:
        return EpisodeShape(config.model.n_way, config.k_shot, config.validation_queries)
    return EpisodeShape(ways, config.k_shot, config.validation_queries, slots=config.model.n_way)
