"""The tables of docs/learner.md: each head of a checkpoint on characters that took no part in its making.

    python benchmarks/heads.py --data-dir DATA
    python benchmarks/heads.py --data-dir DATA --tta-passes 8 --heads prototypes memory --only omniglot --episodes 2000

Beside the heads: class means of the same features after LayerNorm, without the learned map, and nearest pixels. `digits` are
scikit-learn's `load_digits`, handwriting of 8x8 pixels, `mnist` MNIST's test set. Nothing here was trained on either. They are
read as a learner does, through `ink`, and the small ones also as they are (`digits-as-is`).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from srwm import load_model
from srwm.data import ImageClasses
from srwm.data.drawings.ink import normalize_ink_images
from srwm.data.sets.mixture import load_tests
from srwm.data.sets.mnist import load_mnist
from srwm.errors import UserError
from srwm.fewshot.episodes import EpisodeShape
from srwm.fewshot.evaluation.baselines import PROTOTYPES_NORMALIZED, baselines, nearest_neighbor
from srwm.fewshot.evaluation.evaluate import embed_views, evaluate, score
from srwm.fewshot.models.config import HeadName
from srwm.fewshot.models.factory import with_head
from srwm.fewshot.models.metadata import Preprocess
from srwm.fewshot.models.residual import ResidualModel
from srwm.learner.images import read_images
from srwm.ranges import AtLeast
from srwm.training.configuration import check_values

TESTS: tuple[tuple[str, int, int], ...] = (
    *(
        ("omniglot", 5, 1),
        ("omniglot", 5, 3),
        ("omniglot", 5, 10),
        ("omniglot", 20, 1),
        ("omniglot", 20, 5),
        ("omniglot", 50, 1),
    ),
    *(("glyphs", 5, 1), ("glyphs", 5, 3), ("glyphs", 5, 10), ("glyphs", 20, 1), ("glyphs", 50, 1)),
    ("printed", 5, 1),
    *((name, 10, shots) for name in ("digits", "digits-as-is", "mnist") for shots in (1, 5)),
)


@dataclass(frozen=True)
class Options:
    """Test the heads of a checkpoint."""

    model: str = "characters"
    """what `srwm.load_model` takes; it must have all heads"""
    heads: tuple[HeadName, ...] = ("prototypes", "memory", "residual")
    """heads to test"""
    only: tuple[str, ...] = ("omniglot", "glyphs", "printed", "digits", "digits-as-is", "mnist")
    """test sets"""
    data_dir: Path | None = None
    """folder of Omniglot and MNIST"""
    tta_passes: Annotated[int, AtLeast(1)] = 1
    """number of test-time-augmented passes, as of a `FewShotLearner`"""
    episodes: int = 10_000
    """episodes of each test"""
    seed: int = 1
    """seed of drawings and episodes"""


def main(options: Options) -> None:
    """Print a row for each test."""
    check_values(options)
    model = load_model(options.model)
    if not isinstance(model, ResidualModel):
        raise UserError(f"{options.model}: expected a checkpoint with all heads")
    print("|", " | ".join(["test", "ways", "examples", *options.heads, "class means after LayerNorm", "nearest pixels"]), "|")
    print("|", " | ".join(["---"] * (5 + len(options.heads))), "|")
    sets = load_tests(options.data_dir, seed=options.seed)
    sets |= {"digits": digits(model, "ink"), "digits-as-is": digits(model, "none")}
    if "mnist" in options.only:
        digits_of_mnist = load_mnist("test", options.data_dir)
        sets["mnist"] = replace(digits_of_mnist, images=normalize_ink_images(digits_of_mnist.images))
    for name in options.only:
        data = sets[name]
        with torch.inference_mode():
            features = embed_views(model, data, options.tta_passes)
        for ways, shots in [(ways, shots) for test, ways, shots in TESTS if test == name]:
            found = [head_score(model, head, data, features, EpisodeShape(ways, shots, 10), options) for head in options.heads]
            plain = baselines(features)[PROTOTYPES_NORMALIZED]
            found.append(str(score(plain, data, EpisodeShape(ways, shots, 10), options.episodes, options.seed)))
            found.append(str(nearest_neighbor(data, EpisodeShape(ways, shots, 10), options.episodes, options.seed)))
            print("|", " | ".join([name, str(ways), str(shots), *found]), "|", flush=True)


def head_score(
    model: ResidualModel,
    head: HeadName,
    data: ImageClasses,
    features: list[torch.Tensor],
    shape: EpisodeShape,
    options: Options,
) -> str:
    """Accuracy of a head, with its interval; nothing where it has too few ways."""
    if head == "prototypes":
        alone = with_head(model, head, n_way=shape.n_way)
    elif shape.n_way <= model.config.n_way:
        alone = with_head(model, head)
        shape = EpisodeShape(shape.n_way, shape.k_shot, shape.queries, slots=model.config.n_way)
    else:
        return ""
    return str(evaluate(alone, data, shape, options.episodes, options.seed, features, options.tta_passes))


def digits(model: ResidualModel, preprocess: Preprocess) -> ImageClasses:
    """scikit-learn's handwritten digits of 8x8 pixels, preprocessed as a learner does."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = read_images((images.reshape(-1, 8, 8) / 16).astype(np.float32), model.config, preprocess, None).pixels
    made = (255 * pixels).round().byte().numpy()
    return ImageClasses.from_groups("digits", [made[labels == digit] for digit in range(10)], list(map(str, range(10))))


if __name__ == "__main__":
    main(tyro.cli(Options))
