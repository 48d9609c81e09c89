"""Accuracy over random episodes, with its confidence interval."""

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
        """The mean and 1.96 * std / sqrt(n) of the accuracies of n episodes, (n,).

        Args:
            per_episode: the accuracy of each episode, (n,).

        Returns:
            The mean with its 95 % interval.
        """
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
    """Accuracy over random episodes. Each view of an image is embedded once for all episodes.

    With test-time augmentation the probabilities of several passes are averaged. The first pass reads the labeled examples in
    their order. Each other pass reads them in a random order and uses the next view, as a `FewShotLearner` does.

    Args:
        model: the model; it is in evaluation mode during the call.
        data: the data set.
        shape: the shape of an episode.
        episodes: number of episodes.
        seed: seed of the episodes and orders; the same seed gives the same episodes.
        features: (I, F) for each view, as `embed_views` returns them for this data; None: they are computed.
        tta_passes: number of passes; 1: no augmentation.

    Returns:
        The accuracy.

    Raises:
        UserError: the data has too few classes or images for such episodes.
        ValueError: `tta_passes` is below 1.
    """
    _check_passes(tta_passes)
    generator = torch.Generator().manual_seed(seed)

    def predict(drawn: Episodes) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device="cpu")
        for number in range(tta_passes):
            read = drawn if number == 0 else drawn.reordered(_permutation(drawn.support.shape[1], generator))
            total = total + episode_logits(model, known[number % len(known)], read).cpu().double().softmax(-1)
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
    """Accuracy of a predictor over random episodes.

    Args:
        predict: from B episodes to predicted labels (B, Q).
        data: the data set.
        shape: the shape of an episode.
        episodes: number of episodes.
        seed: seed of the episodes.

    Returns:
        The accuracy.
    """
    offsets = torch.from_numpy(data.offsets)
    generator = torch.Generator().manual_seed(seed)
    correct = []
    for start in range(0, episodes, _EPISODES_AT_ONCE):
        drawn = draw_episodes(offsets, shape, min(_EPISODES_AT_ONCE, episodes - start), generator)
        correct.append((predict(drawn).cpu() == drawn.query_labels).double().mean(1))
    return Accuracy.of(torch.cat(correct))


def embed_views(model: EpisodeModel, data: ImageClasses, tta_passes: int = 1) -> list[Tensor]:
    """Features of every image of a data set, for each view of test-time augmentation.

    Args:
        model: the model; it is in evaluation mode during the call.
        data: the data set.
        tta_passes: number of passes.

    Returns:
        (I, F) for each view.

    Raises:
        ValueError: `tta_passes` is below 1.
    """
    _check_passes(tta_passes)
    return [embed_all(model, data, view=view) for view in views(model.config)[:tta_passes]]


@torch.no_grad()
def embed_all(model: EpisodeModel, data: ImageClasses, index: Tensor | None = None, view: View | None = None) -> Tensor:
    """Features of the images of a data set.

    Args:
        model: the model; it is in evaluation mode during the call.
        data: the data set.
        index: positions (I,) of the images; None: all.
        view: a transformation that is applied to the images first; None: none.

    Returns:
        (I, F), on the model's device.
    """
    device = next(model.parameters()).device
    images = torch.from_numpy(data.images)
    chosen = torch.arange(len(images), device="cpu") if index is None else index

    def embed(part: Tensor) -> Tensor:
        given = to_input(images[part].to(device), data)
        return model.embed(given if view is None else view(given))

    with evaluation_mode(model):
        return map_batched(embed, chosen)


def episode_logits(model: EpisodeModel, features: Tensor, episodes: Episodes) -> Tensor:
    """Logits of the queries, each evaluated from the state after the support. Labels that are not in the support get -inf.

    Args:
        model: the model.
        features: (P, F) of the images of the episodes.
        episodes: B episodes over these images.

    Returns:
        (B, Q, N).
    """
    support, labels, query, _ = (part.to(features.device) for part in episodes)
    embed = functional.embedding  # its gradient is summed in a fixed order; the gradient of indexing is not
    state = model.learn_features(embed(support, features), labels)
    logits = model.query_features(embed(query, features), state)
    shown = torch.zeros(len(support), logits.shape[2], dtype=torch.bool, device=logits.device).scatter_(1, labels, True)
    return logits.masked_fill(~shown[:, None], -torch.inf)
