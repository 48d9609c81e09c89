"""Letters under 17 conditions of pen, paper and light: 5-way 1-shot accuracy of a checkpoint that was shown plain ones.

    python benchmarks/conditions.py

Every letter of an invented alphabet is shown once, drawn with the same pen on plain paper, and asked for under each condition
(`tests/learner/conditions.py`). Of one question the accuracy is the probability that four other letters, chosen at random, all
score less than the right one; the heads of the model are asked about random groups of five.
"""

import sys
from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np
import torch
import tyro
from torch.nn import functional as F

from characters import heads_of
from srwm import load_model
from srwm.data.drawings.ink import read_ink
from srwm.fewshot.models.base import EpisodeModel

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "learner"))
from conditions import CONDITIONS, render

WAYS = 5


@dataclass(frozen=True)
class Options:
    """Measure a checkpoint under the conditions."""

    model: str = "characters"
    """what `srwm.load_model` takes"""
    instances: int = 5
    """drawings of each letter, in each condition"""
    alphabets: int = 5
    """invented alphabets of 20 letters"""


def main(options: Options) -> None:
    """Print a row for each condition."""
    model = load_model(options.model)
    heads = heads_of(model)
    print("| condition |", " | ".join(heads), "| class means after LayerNorm | images without ink |")
    print("|" + "---|" * (len(heads) + 3))
    plain = [embed(model, "same pen", options.instances, alphabet, seed=0) for alphabet in range(options.alphabets)]
    for condition in CONDITIONS:
        asked = [embed(model, condition, options.instances, alphabet, seed=1) for alphabet in range(options.alphabets)]
        pairs = [(shown, questions) for (shown, _), (questions, _) in zip(plain, asked, strict=True)]
        found = [np.mean([in_groups(head, *pair) for pair in pairs]) for head in heads.values()]
        means = np.mean([five_way(mean_scores(*pair)) for pair in pairs])
        blank = np.mean([share for _, share in asked])
        print("|", " | ".join([condition, *(f"{value:.1%}" for value in (*found, means, blank))]), "|", flush=True)


def embed(model: EpisodeModel, condition: str, instances: int, alphabet: int, seed: int) -> tuple[torch.Tensor, float]:
    """Features (letters, instances, F) of an alphabet, and the share of its drawings on which no ink was found."""
    drawings = render(condition, instances, seed, alphabet)
    found = [read_ink(drawing) for letter in drawings for drawing in letter]
    images = torch.from_numpy(np.stack([image for image, _ in found]))[:, None].float() / 255
    with torch.inference_mode():
        features = model.embed(images).unflatten(0, drawings.shape[:2])
    return features, float(np.mean([report.components == 0 for _, report in found]))


def mean_scores(shown: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Scores (instances shown, letters asked for, instances asked for, letters) by the nearest mean of one example."""
    shown, asked = (F.layer_norm(part, part.shape[-1:]) for part in (shown, asked))
    return -torch.cdist(asked.flatten(0, 1), shown.transpose(0, 1)).unflatten(1, asked.shape[:2])


def five_way(scores: torch.Tensor) -> float:
    """Accuracy among the right letter and four others, over all choices of these."""
    letters = scores.shape[-1]
    right = scores.diagonal(dim1=1, dim2=3).movedim(-1, 1)[..., None]
    fewer = (scores < right).sum(-1).tolist()
    return float(np.mean(np.vectorize(lambda n: comb(n, WAYS - 1))(fewer)) / comb(letters - 1, WAYS - 1))


@torch.inference_mode()
def in_groups(model: EpisodeModel, shown: torch.Tensor, asked: torch.Tensor, shuffles: int = 10) -> float:
    """Accuracy of the model on groups of five letters, one example of each; every shuffle makes groups of all letters."""
    generator = torch.Generator().manual_seed(0)
    letters, instances, _ = shown.shape
    groups = torch.cat([torch.randperm(letters, generator=generator) for _ in range(shuffles)]).view(-1, WAYS)
    labels = torch.arange(WAYS).expand(len(groups), -1)
    state = model.learn_features(shown[groups, torch.arange(len(groups))[:, None] % instances], labels)
    logits = model.query_features(asked[groups].flatten(1, 2), state)[..., :WAYS]
    return float((logits.argmax(-1).unflatten(1, (WAYS, instances)) == labels[..., None]).float().mean())


if __name__ == "__main__":
    main(tyro.cli(Options))
