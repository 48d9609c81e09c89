"""What needs no memory: nearest pixels, and nearest neighbors and prototypes on a model's own features, on its episodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from srwm.data import ImageClasses
from srwm.fewshot.episodes import Episodes, EpisodeShape
from srwm.fewshot.evaluation.evaluate import Accuracy, answer, embed_views, score
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.prototypes import class_sums, prototype_logits

Predict = Callable[[Episodes], Tensor]
"""From B episodes to labels (B, Q)."""

NEAREST_PIXELS = "nearest pixels (Euclidean)"
NEAREST_FEATURES = "nearest features (cosine)"
PROTOTYPES = "prototypes (Euclidean)"
PROTOTYPES_NORMALISED = "prototypes (Euclidean after LayerNorm)"
BASELINES = (NEAREST_PIXELS, NEAREST_FEATURES, PROTOTYPES, PROTOTYPES_NORMALISED)

_NUMBERS_AT_ONCE = 2**25


def nearest_neighbor(data: ImageClasses, shape: EpisodeShape, episodes: int = 10_000, seed: int = 0) -> Accuracy:
    """Accuracy, on the episodes of `evaluate`, of the label of the support image with the nearest pixels (Euclidean)."""
    pixels = torch.from_numpy(data.images).flatten(1)
    return score(lambda drawn: nearest_labels(pixels, drawn), data, shape, episodes, seed)


def nearest_labels(vectors: Tensor, episodes: Episodes, metric: Literal["euclidean", "cosine"] = "euclidean") -> Tensor:
    """Labels (B, Q) of the nearest support images, by the vectors (P, F) of the images that the episodes point at."""
    at_once = max(1, _NUMBERS_AT_ONCE // (vectors[0].numel() * (episodes.support.shape[1] + episodes.query.shape[1])))
    found = []
    for support, labels, query in zip(*(torch.split(part, at_once) for part in episodes[:3]), strict=True):
        known, asked = vectors[support].float(), vectors[query].float()
        if metric == "cosine":
            known, asked = (F.normalize(part, dim=-1) for part in (known, asked))
        found.append(labels.gather(1, torch.cdist(asked, known).argmin(-1)))
    return torch.cat(found)


def prototype_labels(features: Sequence[Tensor], episodes: Episodes) -> Tensor:
    """Labels (B, Q) of the nearest class means, by the features (P, F) of the images that the episodes point at.

    Squared distances of several views of the images add up.
    """
    ways = int(episodes.support_labels.max()) + 1
    total = torch.zeros((), dtype=torch.float32, device="cpu")
    for view in features:
        sums, counts = class_sums(view[episodes.support], episodes.support_labels, ways)
        total = total + prototype_logits(view[episodes.query], sums, counts)
    return total.argmax(-1)


def predictors(model: EpisodeModel, features: Tensor) -> dict[str, Predict]:
    """The baselines on the features (I, F) that a model's stem made of a data set, and the model under the name "model"."""

    def predict(drawn: Episodes) -> Tensor:
        with torch.inference_mode():
            return answer(model, features, drawn).argmax(-1)

    return {**baselines([features]), "model": predict}


def baselines(features: Sequence[Tensor]) -> dict[str, Predict]:
    """Three baselines on features (I, F) of images seen through several views, which count as one long vector.

    A LayerNorm without weights comes first in the models' balanced input and in `NeighborLoss`. After it all features have the
    same length, so with one example a class the nearest class mean is that of the largest cosine.
    """
    plain = [view.cpu() for view in features]
    joined = torch.cat(plain, dim=1)
    normalized = [F.layer_norm(view.float(), view.shape[1:]) for view in plain]
    return {
        NEAREST_FEATURES: lambda drawn: nearest_labels(joined, drawn, "cosine"),
        PROTOTYPES: lambda drawn: prototype_labels(plain, drawn),
        PROTOTYPES_NORMALISED: lambda drawn: prototype_labels(normalized, drawn),
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
    """Accuracy of `BASELINES` by name, on the episodes that `evaluate` of the same seed sees.

    Those on features see all views of test-time augmentation of so many readings, or those of which `features` are; pixels are
    seen as they are.

    Raises UserError where the data has too few classes or images for such episodes.
    """
    known = baselines(embed_views(model, data, tta_passes) if features is None else features)
    pixels = nearest_neighbor(data, shape, episodes, seed)
    return {name: score(known[name], data, shape, episodes, seed) if name in known else pixels for name in BASELINES}
