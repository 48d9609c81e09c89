"""Accuracy on new classes, with its confidence interval."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from srwm.data import ImageClasses
from srwm.fewshot.episodes import Episodes, EpisodeShape, draw_episodes
from srwm.fewshot.evaluation.tta import View, views
from srwm.fewshot.images import map_batched, to_input
from srwm.fewshot.models.base import EpisodeModel
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
    features: Sequence[Tensor] | None = None,
    tta_passes: int = 1,
) -> Accuracy:
    """Accuracy over `episodes` random episodes: every image is embedded once a view, the episodes run from the features.

    The model is in evaluation mode meanwhile. The same seed gives the same episodes. `tta_passes` is the number of readings of
    the examples, as of a `FewShotLearner`, whose answers are averaged: as they come, then in random orders, one for the
    episodes of a batch, each through the next view, and after the last through the first again. `features`, of each view, are
    those that `embed_views` gave for this data, where that has been done.
    Raises UserError where the data has too few classes or images for such episodes, ValueError for no reading at all.
    """
    _check_passes(tta_passes)
    generator = torch.Generator().manual_seed(seed)

    def predict(drawn: Episodes) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device="cpu")
        for reading in range(tta_passes):
            read = drawn if reading == 0 else drawn.reordered(_permutation(drawn.support.shape[1], generator))
            total = total + answer(model, known[reading % len(known)], read).cpu().double().softmax(-1)
        return total.argmax(-1)

    with evaluation_mode(model):
        known = embed_views(model, data, tta_passes) if features is None else features
        return score(predict, data, shape, episodes, seed)


def _permutation(length: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(length, generator=generator, device="cpu")


def _check_passes(tta_passes: int) -> None:
    if tta_passes < 1:
        raise ValueError(f"tta_passes: expected 1 or more, got {tta_passes}")


def score(predict: Callable[[Episodes], Tensor], data: ImageClasses, shape: EpisodeShape, episodes: int, seed: int) -> Accuracy:
    """Accuracy of a function from B episodes, positions among the data's images, to labels (B, Q)."""
    offsets = torch.from_numpy(data.offsets)
    generator = torch.Generator().manual_seed(seed)
    correct = []
    for start in range(0, episodes, _EPISODES_AT_ONCE):
        drawn = draw_episodes(offsets, shape, min(_EPISODES_AT_ONCE, episodes - start), generator)
        correct.append((predict(drawn).cpu() == drawn.query_labels).double().mean(1))
    return Accuracy.of(torch.cat(correct))


def embed_views(model: EpisodeModel, data: ImageClasses, tta_passes: int = 1) -> list[Tensor]:
    """Features (I, F) as `embed_all` gives them, through each view that test-time augmentation of so many readings has.

    Raises ValueError for no reading at all.
    """
    _check_passes(tta_passes)
    return [embed_all(model, data, view=view) for view in views(model.config)[:tta_passes]]


@torch.no_grad()
def embed_all(model: EpisodeModel, data: ImageClasses, index: Tensor | None = None, view: View | None = None) -> Tensor:
    """Features (I, F) of every image of a data set, or of those at the positions `index` (I,), on the model's device.

    The model is in evaluation mode meanwhile. `view` is what the images are seen through.
    """
    device = next(model.parameters()).device
    images = torch.from_numpy(data.images)
    chosen = torch.arange(len(images), device="cpu") if index is None else index

    def embed(part: Tensor) -> Tensor:
        given = to_input(images[part].to(device), data)
        return model.embed(given if view is None else view(given))

    with evaluation_mode(model):
        return map_batched(embed, chosen)


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
