"""Bootstrapped training: predictions after the support are trained to match predictions after more examples."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import Episodes, EpisodeShape
from srwm.fewshot.protocol_options import ProtocolOptions
from srwm.fewshot.protocols.base import Losses, accuracy_of
from srwm.fewshot.protocols.synchronous import Synchronous
from srwm.nn import State, leaves
from srwm.ranges import AtLeast


@dataclass(frozen=True)
class BootstrapConfig(ProtocolOptions):
    """Bootstrapped training: the target is the model's own state after more examples."""

    FORMER_FIELDS: ClassVar[tuple[str, ...]] = ("bootstrap",)

    future: Annotated[int, AtLeast(0)] = 10
    """number of additional labeled examples after the support, spread over the classes as evenly as possible"""
    matching: Literal["output", "state"] = "output"
    """matching loss: Kullback-Leibler divergence of the predictions (`output`), or mean squared error of the state (`state`)"""
    query_weight: Annotated[float, AtLeast(0)] = 1.0
    """weight of the loss of the queries after the support"""
    future_weight: Annotated[float, AtLeast(0)] = 10.0
    """weight of the loss of the same queries after the additional examples"""
    matching_weight: Annotated[float, AtLeast(0)] = 1.0
    """weight of the matching loss"""


class Bootstrap(Synchronous):
    """Support, queries, `future` more labeled examples after the support, and the same queries again.

    The loss is the cross-entropy of both rounds of predictions, plus a matching loss between the predictions (or states) after
    the support and those after the additional examples, which are a constant target. Evaluation is as in `Synchronous`.
    """

    name = "bootstrap"
    about = "labeled examples, queries, more examples, then the same queries (bootstrapped training)"
    Options = BootstrapConfig
    variable_episodes = False
    extra_terms = ("future_loss", "matching_loss")

    @classmethod
    def train_shape(cls, config: TrainConfig) -> EpisodeShape:
        """Episodes whose queries begin with the additional examples, the same number of each class.

        Args:
            config: the configuration of the run.

        Returns:
            The shape of an episode.
        """
        return EpisodeShape(config.model.n_way, config.k_shot, _room(config) + config.queries)

    def losses(self, features: Tensor, episodes: Episodes) -> Losses:
        """The loss after the support, the loss after the additional examples, and the matching loss.

        Args:
            features: (P, F) of the images of the step.
            episodes: the episodes over these images.

        Returns:
            The weighted loss, the accuracy and the terms of the loss.
        """
        chosen = self.config.options(BootstrapConfig)
        support, labels, others, other_labels = episodes
        room = _room(self.config)
        (future, query), (future_labels, query_labels) = (
            (part[:, : chosen.future], part[:, room:]) for part in (others, other_labels)
        )
        embed = F.embedding  # its gradient is summed in a fixed order; the gradient of indexing is not
        queries = embed(query, features)

        state = self.model.learn_features(embed(support, features), labels)
        logits = self.model.query_features(queries, state).float()
        future_state, future_logits = state, logits
        if chosen.future:
            future_state = self.model.learn_features(embed(future, features), future_labels, state)
            future_logits = self.model.query_features(queries, future_state).float()

        loss, future_loss = (F.cross_entropy(a.flatten(0, 1), query_labels.flatten()) for a in (logits, future_logits))
        by_output = chosen.matching == "output"
        matching = match_outputs(logits, future_logits) if by_output else match_states(state, future_state)
        total = chosen.query_weight * loss + chosen.future_weight * future_loss + chosen.matching_weight * matching
        terms = {"train_loss": loss, "future_loss": future_loss, "matching_loss": matching}
        return Losses(total, accuracy_of(logits, query_labels), terms)


def _room(config: TrainConfig) -> int:
    """Number of additional examples, rounded up to a multiple of the classes so that the queries are spread evenly."""
    return -(-config.options(BootstrapConfig).future // config.model.n_way) * config.model.n_way


def match_outputs(logits: Tensor, target: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of predictions from a constant target, in nats.

    Args:
        logits: (B, Q, N).
        target: logits of the target, (B, Q, N).

    Returns:
        The divergence, ().
    """
    log_p = target.detach().log_softmax(-1)
    return (log_p.exp() * (log_p - logits.log_softmax(-1))).sum(-1).mean()


def match_states(state: State, target: State) -> Tensor:
    """Mean squared difference of two states, over all floating numbers; the target is a constant.

    Args:
        state: the state.
        target: a state of the same structure.

    Returns:
        The mean, ().
    """
    pairs = [(a, b.detach()) for a, b in zip(leaves(state), leaves(target), strict=True) if a.is_floating_point()]
    total = sum((F.mse_loss(a, b, reduction="sum") for a, b in pairs), torch.zeros((), dtype=torch.float32, device="cpu"))
    return total / max(1, sum(a.numel() for a, _ in pairs))
