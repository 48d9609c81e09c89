"""Synchronous labels: labeled examples, then questions."""

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
from srwm.fewshot.models.sequence import EpisodeModel
from srwm.fewshot.protocols.base import Evaluation, Losses, Objective, Sets, fraction_right


class Synchronous(Objective):
    """Cross-entropy of the answers to questions that are all asked of the state that the labeled examples left."""

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
        cls, config: TrainConfig, model: EpisodeModel, data: Sets, episodes: int, seed: int, ensemble: int = 1
    ) -> Evaluation:
        """Accuracy of the answers."""
        features = embed_views(model, data[0], ensemble)
        accuracy = evaluate(model, data[0], cls.test_shape(config), episodes, seed, features, ensemble)
        return Evaluation(accuracy, features=features)

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Numbers of classes and of examples that change from step to step must fit, the largest ones too."""
        n_way = config.model.n_way
        for name in ("fewest_ways", "validation_ways"):
            ways = getattr(config, name)
            if ways is not None and not 2 <= ways <= n_way:
                raise UserError(f"{name}: expected 2 to model.n_way = {n_way}, got {ways}")
        if config.most_shots is not None and config.most_shots < config.k_shot:
            raise UserError(f"most_shots: expected k_shot = {config.k_shot} or more, got {config.most_shots}")
        if config.sampler != "pooled" and (config.fewest_ways is not None or config.most_shots is not None):
            raise UserError("fewest_ways, most_shots: only the pooled sampler draws them")
        super().check(config, data)
        fixed = replace(config, fewest_ways=None, most_shots=None)
        for ways, shots in product((config.fewest_ways or n_way, n_way), (config.k_shot, config.most_shots or config.k_shot)):
            shape = EpisodeShape(ways, shots, config.queries)
            build_sampler(fixed, shape, data["train"][0], torch.Generator()).sample()

    def losses(self, features: Tensor, episodes: Episodes) -> Losses:
        """Read the examples, ask every question."""
        logits = answer(self.model, features, episodes).float()
        loss = F.cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten())
        return Losses(loss, fraction_right(logits, episodes.query_labels), {"train_loss": loss})
