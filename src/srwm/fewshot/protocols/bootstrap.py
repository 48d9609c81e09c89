"""Bootstrapped training: what the support taught learns from what more examples teach."""

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.data import Split
from srwm.errors import UserError
from srwm.fewshot.config import TrainConfig
from srwm.fewshot.episodes import Episodes, EpisodeShape
from srwm.fewshot.protocols.base import Losses, Sets, accuracy_of
from srwm.fewshot.protocols.synchronous import Synchronous
from srwm.nn import State, leaves


class Bootstrap(Synchronous):
    """Support, queries, `future` more labeled examples from the state that the support left, and the same queries.

    Loss: cross-entropy of both rounds of answers, and a matching loss that pulls the first answers, or the first state, to
    those after the future examples, through which no gradient flows. It is tested as synchronous labels are.
    """

    extra_terms = ("future_loss", "matching_loss")

    @classmethod
    def train_shape(cls, config: TrainConfig) -> EpisodeShape:
        """Episodes with the future examples in front of the queries, and room for examples of every class as often."""
        return EpisodeShape(config.model.n_way, config.k_shot, _room(config) + config.queries)

    @classmethod
    def check(cls, config: TrainConfig, data: dict[Split, Sets]) -> None:
        """Raise UserError where the configuration does not fit the protocol or the data."""
        chosen = config.bootstrap
        weights = (chosen.query_weight, chosen.future_weight, chosen.matching_weight)
        if chosen.future < 0 or min(weights) < 0:
            raise UserError(f"bootstrap: expected 0 or more for future and the weights, got {chosen}")
        super().check(config, data)

    def losses(self, features: Tensor, episodes: Episodes) -> Losses:
        """Read the support, ask; read the future examples, ask again."""
        chosen = self.config.bootstrap
        support, labels, others, other_labels = episodes
        room = _room(self.config)
        (future, query), (future_labels, query_labels) = (
            (part[:, : chosen.future], part[:, room:]) for part in (others, other_labels)
        )
        embed = F.embedding  # its gradient adds up in a fixed order, unlike that of plain indexing
        queries = embed(query, features)

        state = self.model.learn_features(embed(support, features), labels)
        answers = self.model.query_features(queries, state).float()
        future_state, future_answers = state, answers
        if chosen.future:
            future_state = self.model.learn_features(embed(future, features), future_labels, state)
            future_answers = self.model.query_features(queries, future_state).float()

        loss, future_loss = (F.cross_entropy(a.flatten(0, 1), query_labels.flatten()) for a in (answers, future_answers))
        by_output = chosen.matching == "output"
        matching = match_outputs(answers, future_answers) if by_output else match_states(state, future_state)
        total = chosen.query_weight * loss + chosen.future_weight * future_loss + chosen.matching_weight * matching
        terms = {"train_loss": loss, "future_loss": future_loss, "matching_loss": matching}
        return Losses(total, accuracy_of(answers, query_labels), terms)


def _room(config: TrainConfig) -> int:
    """Of whole turns of the classes, so that the queries begin with a new one and are spread evenly by themselves."""
    return -(-config.bootstrap.future // config.model.n_way) * config.model.n_way


def match_outputs(logits: Tensor, target: Tensor) -> Tensor:
    """Mean KL divergence, (), in nats, of the answers from the target's, logits (B, Q, N) each; the target is a constant."""
    log_p = target.detach().log_softmax(-1)
    return (log_p.exp() * (log_p - logits.log_softmax(-1))).sum(-1).mean()


def match_states(state: State, target: State) -> Tensor:
    """Mean squared difference, (), over all floating numbers of two states; the target is a constant."""
    pairs = [(a, b.detach()) for a, b in zip(leaves(state), leaves(target), strict=True) if a.is_floating_point()]
    total = sum((F.mse_loss(a, b, reduction="sum") for a, b in pairs), torch.zeros((), dtype=torch.float32, device="cpu"))
    return total / max(1, sum(a.numel() for a, _ in pairs))
