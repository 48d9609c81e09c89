"""Bootstrapped training: what the support taught learns from what more examples teach."""

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
    """Bootstrapped training: the state after the support learns from the state that more examples make of it."""

    FORMER_FIELDS: ClassVar[tuple[str, ...]] = ("bootstrap",)

    future: Annotated[int, AtLeast(0)] = 10
    """labeled examples after the support, spread over the classes as evenly as possible"""
    matching: Literal["output", "state"] = "output"
    """what is pulled to its future value: the predictions, by Kullback-Leibler divergence, or the state, by mean squared
    error"""
    query_weight: Annotated[float, AtLeast(0)] = 1.0
    """factor of the loss of the queries after the support"""
    future_weight: Annotated[float, AtLeast(0)] = 10.0
    """factor of the loss of the same queries after the future examples"""
    matching_weight: Annotated[float, AtLeast(0)] = 1.0
    """factor of the matching loss"""


class Bootstrap(Synchronous):
    """Support, queries, `future` more labeled examples from the state that the support left, and the same queries.

    The loss is the cross-entropy of both rounds of predictions, plus a matching loss. It pulls the first predictions, or the
    first state, to those after the future examples, through which no gradient flows. Evaluation is that of `Synchronous`.
    """

    name = "bootstrap"
    about = "labeled examples, queries, more examples, then the same queries (bootstrapped training)"
    Options = BootstrapConfig
    variable_episodes = False
    extra_terms = ("future_loss", "matching_loss")

    @classmethod
    def train_shape(cls, config: TrainConfig) -> EpisodeShape:
        """Episodes with the future examples in front of the queries, and room for examples of every class as often."""
        return EpisodeShape(config.model.n_way, config.k_shot, _room(config) + config.queries)

    def losses(self, features: Tensor, episodes: Episodes) -> Losses:
        """The loss after the support, after the future examples, and of matching the two."""
        chosen = self.config.options(BootstrapConfig)
        support, labels, others, other_labels = episodes
        room = _room(self.config)
        (future, query), (future_labels, query_labels) = (
            (part[:, : chosen.future], part[:, room:]) for part in (others, other_labels)
        )
        embed = F.embedding  # its gradient adds up in a fixed order, unlike that of plain indexing
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
    """Of whole turns of the classes, so that the queries begin with a new one and are spread evenly by themselves."""
    return -(-config.options(BootstrapConfig).future // config.model.n_way) * config.model.n_way


def match_outputs(logits: Tensor, target: Tensor) -> Tensor:
    """Mean KL divergence, (), in nats, of predictions from a constant target, logits (B, Q, N) each."""
    log_p = target.detach().log_softmax(-1)
    return (log_p.exp() * (log_p - logits.log_softmax(-1))).sum(-1).mean()


def match_states(state: State, target: State) -> Tensor:
    """Mean squared difference, (), over all floating numbers of two states; the target is a constant."""
    pairs = [(a, b.detach()) for a, b in zip(leaves(state), leaves(target), strict=True) if a.is_floating_point()]
    total = sum((F.mse_loss(a, b, reduction="sum") for a, b in pairs), torch.zeros((), dtype=torch.float32, device="cpu"))
    return total / max(1, sum(a.numel() for a, _ in pairs))
