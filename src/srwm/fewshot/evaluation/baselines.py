"""Baselines without memory: nearest pixels, and nearest neighbors and prototypes on the features of a model's stem."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.data import ImageClasses
from srwm.fewshot.episodes import Episodes, EpisodeShape
from srwm.fewshot.evaluation.evaluate import Accuracy, embed_views, episode_logits, score
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.class_means import class_sums, prototype_logits

Predict = Callable[[Episodes], Tensor]
"""A function from B episodes to predicted labels (B, Q)."""

NEAREST_PIXELS = "nearest pixels (Euclidean)"
NEAREST_FEATURES = "nearest features (cosine)"
PROTOTYPES = "prototypes (Euclidean)"
PROTOTYPES_NORMALIZED = "prototypes (Euclidean after LayerNorm)"
BASELINES = (NEAREST_PIXELS, NEAREST_FEATURES, PROTOTYPES, PROTOTYPES_NORMALIZED)

_NUMBERS_AT_ONCE = 2**25


def nearest_neighbor(data: ImageClasses, shape: EpisodeShape, episodes: int = 10_000, seed: int = 0) -> Accuracy:
    """Accuracy of the label of the support image with the nearest pixels (Euclidean), on the episodes of `evaluate`.

    Args:
        data: the data set.
        shape: the shape of an episode.
        episodes: number of episodes.
        seed: seed of the episodes.

    Returns:
        The accuracy.
    """
    pixels = torch.from_numpy(data.images).flatten(1)
    return score(lambda drawn: nearest_labels(pixels, drawn), data, shape, episodes, seed)


def nearest_labels(vectors: Tensor, episodes: Episodes, metric: Literal["euclidean", "cosine"] = "euclidean") -> Tensor:
    """Labels of the nearest support images.

    Args:
        vectors: a vector for each image, (P, F).
        episodes: B episodes over these images.
        metric: how distances are measured.

    Returns:
        Labels (B, Q).
    """
    at_once = max(1, _NUMBERS_AT_ONCE // (vectors[0].numel() * (episodes.support.shape[1] + episodes.query.shape[1])))
    found = []
    for support, labels, query in zip(*(torch.split(part, at_once) for part in episodes[:3]), strict=True):
        support_vectors, query_vectors = vectors[support].float(), vectors[query].float()
        if metric == "cosine":
            support_vectors, query_vectors = (F.normalize(part, dim=-1) for part in (support_vectors, query_vectors))
        found.append(labels.gather(1, torch.cdist(query_vectors, support_vectors).argmin(-1)))
    return torch.cat(found)


def prototype_labels(features: Sequence[Tensor], episodes: Episodes) -> Tensor:
    """Labels of the nearest class means. Squared distances are summed over views.

    Args:
        features: (P, F) for each view of the images.
        episodes: B episodes over these images.

    Returns:
        Labels (B, Q).
    """
    ways = int(episodes.support_labels.max()) + 1
    total = torch.zeros((), dtype=torch.float32, device="cpu")
    for view in features:
        sums, counts = class_sums(view[episodes.support], episodes.support_labels, ways)
        total = total + prototype_logits(view[episodes.query], sums, counts)
    return total.argmax(-1)


def predictors(model: EpisodeModel, features: Tensor) -> dict[str, Predict]:
    """The baselines on the features of a model's stem, and the model itself under the name "model".

    Args:
        model: the model.
        features: (I, F) of a data set.

    Returns:
        The predictors by name.
    """

    def predict(drawn: Episodes) -> Tensor:
        with torch.inference_mode():
            return episode_logits(model, features, drawn).argmax(-1)

    return {**baselines([features]), "model": predict}


def baselines(features: Sequence[Tensor]) -> dict[str, Predict]:
    """Three baselines on features. The features of several views are concatenated.

    The LayerNorm without weights is the same as in the models' balanced input and in `NeighborLoss`. After it all features
    have the same length, so with one example per class the nearest class mean is also the one with the largest cosine.

    Args:
        features: (I, F) for each view of the images.

    Returns:
        The predictors by name.
    """
    plain = [view.cpu() for view in features]
    joined = torch.cat(plain, dim=1)
    normalized = [F.layer_norm(view.float(), view.shape[1:]) for view in plain]
    return {
        NEAREST_FEATURES: lambda drawn: nearest_labels(joined, drawn, "cosine"),
        PROTOTYPES: lambda drawn: prototype_labels(plain, drawn),
        PROTOTYPES_NORMALIZED: lambda drawn: prototype_labels(normalized, drawn),
    }


@torch.inference_mode()
def evaluate_baselines(
    model: EpisodeModel,
    data: ImageClasses,
    shape: EpisodeShape,
    episodes: int = 10_000,
    seed: int = 0,
    features: Sequence[Tensor] | None = None,
    tta_passes: int = 1,
) -> Mapping[str, Accuracy]:
    """Accuracy of `BASELINES`, on the episodes that `evaluate` draws with the same seed.

    Args:
        model: the model whose stem gives the features.
        data: the data set.
        shape: the shape of an episode.
        episodes: number of episodes.
        seed: seed of the episodes.
        features: (I, F) for each view, as `embed_views` returns them for this data; None: they are computed.
        tta_passes: number of test-time-augmented passes, one view each; the pixel baseline has no views.

    Returns:
        The accuracies by name.

    Raises:
        UserError: the data has too few classes or images for such episodes.
    """
    known = baselines(embed_views(model, data, tta_passes) if features is None else features)
    pixels = nearest_neighbor(data, shape, episodes, seed)
    return {name: score(known[name], data, shape, episodes, seed) if name in known else pixels for name in BASELINES}
