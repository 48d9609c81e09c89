"""Samplers of training runs, built from their configurations."""

from dataclasses import replace

import torch

from srwm.data import ImageClasses
from srwm.errors import UserError
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import Episodes, EpisodeSampler, EpisodeShape, PooledSampler, Sampler


def fit_to_data(config: TrainConfig, *data: ImageClasses) -> TrainConfig:
    """Adapt a configuration to the training classes of its data sets.

    Args:
        config: the configuration.
        *data: the training classes of one or two data sets of equal image shape.

    Returns:
        The configuration with the images' shape, and with a pool that is no larger than each data set allows.
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
    """Build the sampler of training episodes.

    Args:
        config: the configuration.
        shape: the shape of an episode.
        data: the training classes.
        generator: source of the random numbers, and the state of the sampler.

    Returns:
        The sampler.

    Raises:
        UserError: the data is too small for such episodes or such a pool, or the sampler does not support an option.
    """
    if config.sampler == "per-episode":
        if config.pool.rotated:
            raise UserError("pool.rotated: expected 0 unless the sampler is pooled, which alone rotates classes")
        return EpisodeSampler(data, shape, config.episodes, generator)
    return PooledSampler(
        data, shape, config.episodes, generator, config.pool, min_ways=config.min_ways, max_shots=config.max_shots
    )


def validation_shape(config: TrainConfig) -> EpisodeShape:
    """Episodes as in training, with the validation's numbers of classes and queries.

    Args:
        config: the configuration of the run.

    Returns:
        The shape of an episode.
    """
    ways = config.validation_ways
    if ways is None:
        return EpisodeShape(config.model.n_way, config.k_shot, config.validation_queries)
    return EpisodeShape(ways, config.k_shot, config.validation_queries, slots=config.model.n_way)
