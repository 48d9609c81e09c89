"""Accuracy on new classes, with its confidence interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from srwm.data import ImageClasses
from srwm.fewshot.episodes import Episodes, EpisodeShape, draw_episodes
from srwm.fewshot.images import by_parts, to_input
from srwm.fewshot.model import EpisodeModel
from srwm.training.modes import evaluation_mode

_EPISODES_AT_ONCE = 256


@dataclass(frozen=True)
class Accuracy:
    """Mean accuracy over episodes, in [0, 1], and the half-width of its 95 % confidence interval."""

    mean: float
    interval: float
    episodes: int

    def __str__(self) -> str:
        """In percent: "97.12 ± 0.08 %"."""
        return f"{100 * self.mean:.2f} ± {100 * self.interval:.2f} %"

    @classmethod
    def of(cls, per_episode: Tensor) -> "Accuracy":
        """From one accuracy per episode, (n,): mean and 1.96 * std / sqrt(n)."""
        spread = per_episode.std().item() if len(per_episode) > 1 else math.inf
        return cls(per_episode.mean().item(), 1.96 * spread / math.sqrt(len(per_episode)), len(per_episode))


@torch.inference_mode()
def evaluate(
    model: EpisodeModel,
    data: ImageClasses,
    shape: EpisodeShape,
    episodes: int = 10_000,
    seed: int = 0,
    features: Tensor | None = None,
) -> Accuracy:
    """Accuracy over `episodes` random episodes: every image is embedded once, the episodes run from the features.

    The model is in evaluation mode meanwhile. The same seed gives the same episodes. `features` are those that `embed_all`
    gave for this data, where that has been done.
    Raises UserError where the data has too few classes or images for such episodes.
    """
    with evaluation_mode(model):
        known = embed_all(model, data) if features is None else features
        return score(lambda drawn: answer(model, known, drawn).argmax(-1), data, shape, episodes, seed)


def score(predict: Callable[[Episodes], Tensor], data: ImageClasses, shape: EpisodeShape, episodes: int, seed: int) -> Accuracy:
    """Accuracy of a function from B episodes, positions among the data's images, to labels (B, Q)."""
    offsets = torch.from_numpy(data.offsets)
    generator = torch.Generator().manual_seed(seed)
    correct = []
    for start in range(0, episodes, _EPISODES_AT_ONCE):
        drawn = draw_episodes(offsets, shape, min(_EPISODES_AT_ONCE, episodes - start), generator)
        correct.append((predict(drawn).cpu() == drawn.query_labels).double().mean(1))
    return Accuracy.of(torch.cat(correct))


@torch.no_grad()
def embed_all(model: EpisodeModel, data: ImageClasses, index: Tensor | None = None) -> Tensor:
    """Features (I, F) of every image of a data set, or of those at the positions `index` (I,), on the model's device.

    The model is in evaluation mode meanwhile.
    """
    device = next(model.parameters()).device
    images = torch.from_numpy(data.images)
    chosen = torch.arange(len(images)) if index is None else index
    with evaluation_mode(model):
        return by_parts(lambda part: model.embed(to_input(images[part].to(device), data)), chosen)


def answer(model: EpisodeModel, features: Tensor, episodes: Episodes) -> Tensor:
    """Logits (B, Q, N): the support is read in order, then every query is asked of the state that it left.

    features (P, F) are those of the images that the episodes point at. Labels that the support does not have get -inf.
    """
    support, labels, query, _ = (part.to(features.device) for part in episodes)
    embed = functional.embedding  # its gradient adds up in a fixed order, unlike that of plain indexing
    state = model.learn_features(embed(support, features), labels)
    logits = model.query_features(embed(query, features), state)
    shown = torch.zeros(len(support), logits.shape[2], dtype=torch.bool, device=logits.device).scatter_(1, labels, True)
    return logits.masked_fill(~shown[:, None], -torch.inf)
