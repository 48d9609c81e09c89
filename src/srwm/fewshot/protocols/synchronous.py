"""Synchronous labels: labeled examples, then queries."""

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.data import Split
from srwm.errors import UserError
from srwm.fewshot.build import build_sampler, validation_shape
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import Episodes, EpisodeShape, Sampler
from srwm.fewshot.evaluation.evaluate import answer, embed_views, evaluate
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.protocols.base import Evaluation, Losses, Protocol, Sets, accuracy_of


class Synchronous(Protocol):
    """Cross-entropy of the answers to queries that are all asked of the state that the labeled examples left."""

    @classmethod
    def train_shape(cls, config: TrainConfig) -> EpisodeShape:
        """What training draws."""
        return EpisodeShape(config.model.n_way, config.k_shot, config.queries)

    @classmethod
    def test_shape(cls, config: TrainConfig) -> EpisodeShape:
        """Episodes as in training, with the number of queries of a validation."""
        return validation_shape(config)

    @classmethod
    def sampler(cls, config: TrainConfig, data: Sets, generator: torch.Generator) -> Sampler[Episodes]:
        """Episodes from one data set."""
        return build_sampler(config, cls.train_shape(config), data[0], generator)

    @classmethod
    def evaluate(
        cls, config: TrainConfig, model: EpisodeModel, data: Sets, episodes: int, seed: int, tta_passes: int = 1
    ) -> Evaluation:
        """Accuracy of the answers."""
        features = embed_views(model, data[0], tta_passes)
        accuracy = evaluate(model, data[0], cls.test_shape(config), episodes, seed, features, tta_passes)
        return Evaluation(accuracy, features=features)

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Numbers of classes and of examples that change from step to step must fit, the largest ones too."""
        n_way = config.model.n_way
        for name in ("min_ways", "validation_ways"):
            ways = getattr(config, name)
            if ways is not None and not 2 <= ways <= n_way:
                raise UserError(f"{name}: expected 2 to model.n_way = {n_way}, got {ways}")
        if config.max_shots is not None and config.max_shots < config.k_shot:
            raise UserError(f"max_shots: expected k_shot = {config.k_shot} or more, got {config.max_shots}")
        if config.sampler != "pooled" and (config.min_ways is not None or config.max_shots is not None):
            raise UserError("min_ways, max_shots: only the pooled sampler draws them")
        super().check(config, data)
        fixed = replace(config, min_ways=None, max_shots=None)
        for ways, shots in product((config.min_ways or n_way, n_way), (config.k_shot, config.max_shots or config.k_shot)):
            shape = EpisodeShape(ways, shots, config.queries)
            build_sampler(fixed, shape, data["train"][0], torch.Generator()).sample()

    def losses(self, features: Tensor, episodes: Episodes) -> Losses:
        """Read the examples, ask every query."""
        logits = answer(self.model, features, episodes).float()
        loss = F.cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten())
        return Losses(loss, accuracy_of(logits, episodes.query_labels), {"train_loss": loss})
