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
from srwm.fewshot.evaluation.config import EvaluationConfig
from srwm.fewshot.evaluation.evaluate import embed_views, episode_logits, evaluate
from srwm.fewshot.evaluation.heads import head_losses
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.protocols.base import Evaluation, Losses, Protocol, Sets, accuracy_of


class Synchronous(Protocol):
    """Cross-entropy of the queries, each evaluated from the state after the labeled examples."""

    name = "synchronous"
    about = "labeled examples, then queries"
    variable_episodes = True

    @classmethod
    def train_shape(cls, config: TrainConfig) -> EpisodeShape:
        """The shape of training episodes.

        Args:
            config: the configuration of the run.

        Returns:
            The shape of an episode.
        """
        return EpisodeShape(config.model.n_way, config.k_shot, config.queries)

    @classmethod
    def test_shape(cls, config: TrainConfig) -> EpisodeShape:
        """The shape of validation and test episodes: as in training, with the number of queries of a validation.

        Args:
            config: the configuration of the run.

        Returns:
            The shape of an episode.
        """
        return validation_shape(config)

    @classmethod
    def sampler(cls, config: TrainConfig, data: Sets, generator: torch.Generator) -> Sampler[Episodes]:
        """The sampler of training episodes.

        Args:
            config: the configuration of the run.
            data: the training classes of one data set.
            generator: source of the random numbers, and the state of the sampler.

        Returns:
            The sampler.
        """
        return build_sampler(config, cls.train_shape(config), data[0], generator)

    @classmethod
    def evaluate(cls, config: TrainConfig, model: EpisodeModel, data: Sets, evaluation: EvaluationConfig) -> Evaluation:
        """Accuracy on the queries.

        Args:
            config: the configuration of the run.
            model: the model; it is in evaluation mode during the call.
            data: one data set of the split to evaluate on.
            evaluation: number and seed of the episodes, and passes of test-time augmentation.

        Returns:
            The accuracy, and the features for each view.
        """
        features = embed_views(model, data[0], evaluation.tta_passes)
        shape = cls.test_shape(config)
        accuracy = evaluate(model, data[0], shape, evaluation.episodes, evaluation.seed, features, evaluation.tta_passes)
        return Evaluation(accuracy, features=features)

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Check that the configuration fits the data, also with the largest numbers of classes and examples.

        Args:
            config: the configuration of the run.
            data: one data set by split.

        Raises:
            UserError: it does not.
        """
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
        """Cross-entropy of all queries; of a model with several heads the mean over them, and the accuracy of class means.

        Args:
            features: (P, F) of the images of the step.
            episodes: the episodes over these images.

        Returns:
            The loss, the accuracy and the terms of the loss.
        """
        if isinstance(self.model, ResidualModel):
            found = head_losses(self.model, features, episodes, ("prototypes", "memory", "residual"))
            loss = torch.stack([part for part, _ in found.values()]).mean()
            return Losses(loss, accuracy_of(found["prototypes"][1], episodes.query_labels), {"train_loss": loss})
        logits = episode_logits(self.model, features, episodes).float()
        loss = F.cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten())
        return Losses(loss, accuracy_of(logits, episodes.query_labels), {"train_loss": loss})
