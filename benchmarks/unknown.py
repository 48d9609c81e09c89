"""What a learner of characters refuses as unknown: the calibration on validation classes, and a table on test classes.

    python benchmarks/unknown.py --data-dir DATA                    # the table of the bundled checkpoint
    python benchmarks/unknown.py --data-dir DATA --save CHECKPOINT  # calibrate a checkpoint, write it into its folder

The score of an image is its squared distance to the nearest class mean, by 1 + 1 / k for k examples (`srwm.learner.unknown`).
The threshold is the score that 5 % of images of known classes exceed, on validation episodes of 2 to 20 classes with 1 to 10
examples, and of two sets (hand-drawn characters, drawn glyphs) the larger. The slope is the one under which known letters, and
as many of other classes, are most probable. DATA holds `omniglot` and `mini_imagenet`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from srwm import load_model, save_model
from srwm.data import ImageClasses
from srwm.data.drawings.glyphs import load_glyphs
from srwm.data.drawings.ink import read_ink
from srwm.data.sets.mini_imagenet import load_mini_imagenet
from srwm.data.sets.omniglot import load_omniglot
from srwm.fewshot.evaluation.evaluate import embed_all
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.metadata import Rejection
from srwm.learner.seen import illegible
from srwm.learner.unknown import ClassExamples, distances, unknown_mass

FALSE_REJECTS = 0.05
WAYS, SHOTS, ASKED = (2, 20), (1, 10), 5
SETTINGS = ((2, 1), (5, 1), (5, 5), (20, 1), (20, 5))


@dataclass(frozen=True)
class Options:
    """Calibrate or test the rejection of unknown images."""

    data_dir: Path | None = None
    """folder of Omniglot and mini-ImageNet"""
    model: str = "characters"
    """what `srwm.load_model` takes"""
    save: Path | None = None
    """folder of a checkpoint; its model is calibrated, and saved there again"""
    episodes: int = 2000
    """episodes of each set"""
    others: int = 500
    """blank pages, pages of noise, and photographs, of each"""


def main(options: Options) -> None:
    """Calibrate, or print the table."""
    if options.save is not None:
        model = load_model(options.save)
        rejection = calibrated(model, letters(options, "val"), options.episodes)
        model.metadata = replace(model.metadata, rejection=rejection)
        save_model(model, options.save, dtype="float16", overwrite_card=True)
        print(rejection)
        return
    model = load_model(options.model)
    rejection = model.metadata.rejection or calibrated(model, letters(options, "val"), options.episodes)
    print(rejection)
    print("| test | ways | shots | known | of another class | blank | noise | photographs |")
    print("|---|---|---|---|---|---|---|---|")
    others = {name: embedded_pages(model, pages) for name, pages in other_pages(options).items()}
    for name, data in letters(options, "test").items():
        features = by_class(model, data)
        for ways, shots in SETTINGS:
            shares = refused(features, others, rejection, ways, shots, options.episodes)
            print(f"| {name} | {ways} | {shots} | {' | '.join(f'{share:.1%}' for share in shares)} |", flush=True)


def letters(options: Options, split: str) -> dict[str, ImageClasses]:
    """Hand-drawn characters and drawn glyphs of a split."""
    omniglot = load_omniglot(options.data_dir, rotations=False, centered=True)
    return {"Omniglot": omniglot[split], "drawn glyphs": load_glyphs()[split]}


def calibrated(model: EpisodeModel, sets: Mapping[str, ImageClasses], episodes: int) -> Rejection:
    """The threshold and the slope that validation classes give."""
    generator = np.random.default_rng(0)
    scores = []
    for data in sets.values():
        features = by_class(model, data)
        drawn = [
            (generator.integers(WAYS[0], WAYS[1] + 1), generator.integers(SHOTS[0], SHOTS[1] + 1)) for _ in range(episodes)
        ]
        pairs = [next(scored(features, int(ways), int(shots), 1, generator)) for ways, shots in drawn]
        scores.append(torch.stack([torch.stack(pair) for pair in pairs], dim=1).flatten(1))  # known, others
    threshold = max(float(known.quantile(1 - FALSE_REJECTS)) for known, _ in scores)
    known, others = torch.cat(scores, dim=1)[:, :, None]
    slopes = np.geomspace(0.5, 50, 200)

    def surprise(slope: float) -> float:
        rejection = Rejection(threshold, slope)
        mass = [unknown_mass(part, rejection).clamp(1e-12, 1 - 1e-12) for part in (known, others)]
        return -float((1 - mass[0]).log().mean() + mass[1].log().mean())

    return Rejection(round(threshold, 2), round(float(min(slopes, key=surprise)), 2))


def scored(
    features: Tensor, ways: int, shots: int, episodes: int, generator: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The scores of five images of known classes and five of others, (5,) each, episode by episode."""
    for _ in range(episodes):
        examples, asked = episode(features, ways, shots, generator)
        yield tuple(distances(part[None], examples).min(-1).values for part in asked)  # type: ignore[misc]


def episode(
    features: Tensor, ways: int, shots: int, generator: np.random.Generator
) -> tuple[ClassExamples, tuple[Tensor, Tensor]]:
    """Examples of some classes, and images of these and of other classes, (5, F) each."""
    classes, images = (torch.from_numpy(generator.permutation(n)) for n in features.shape[:2])
    shown = features[classes[:ways]][:, images[:shots]].flatten(0, 1)
    labels = torch.arange(ways).repeat_interleave(shots)
    known = classes[torch.from_numpy(generator.integers(ways, size=ASKED))]
    asked = images[torch.from_numpy(generator.integers(shots, len(images), size=ASKED))]
    examples = ClassExamples.none(1, features).after(shown[None], labels, ways)
    return examples, (features[known, asked], features[classes[ways : ways + ASKED], asked])


def refused(
    features: Tensor, others: Mapping[str, Tensor], rejection: Rejection, ways: int, shots: int, episodes: int
) -> list[float]:
    """The shares refused of known letters, letters of other classes, and pages of each other kind."""
    generator = np.random.default_rng(1)
    counts = np.zeros(2 + len(others))
    for _ in range(episodes):
        examples, asked = episode(features, ways, shots, generator)
        pages = [drawn[torch.from_numpy(generator.integers(len(drawn), size=ASKED))] for drawn in others.values()]
        for i, part in enumerate([*asked, *pages]):
            no_character = part.isnan().any(1)
            mass = unknown_mass(distances(part.nan_to_num()[None], examples), rejection)
            counts[i] += float((no_character | (mass >= 0.5)).sum())
    return (counts / (ASKED * episodes)).tolist()


@torch.inference_mode()
def by_class(model: EpisodeModel, data: ImageClasses) -> Tensor:
    """Features (classes, images, F) of a set with as many images of each class."""
    return embed_all(model, data).unflatten(0, (len(data), -1))


def other_pages(options: Options) -> dict[str, list[Image.Image]]:
    """Pages that are no letters."""
    generator = np.random.default_rng(2)
    photographs = load_mini_imagenet(options.data_dir)["test"].images
    chosen = generator.choice(len(photographs), options.others, replace=False)
    return {
        "blank": [page(blank_page(generator)) for _ in range(options.others)],
        "noise": [page(noise(generator)) for _ in range(options.others)],
        "photographs": [Image.fromarray(photographs[i].transpose(1, 2, 0)) for i in np.sort(chosen)],
    }


def blank_page(generator: np.random.Generator) -> np.ndarray:
    """Paper with a gradient, a vignette and grain, (H, W) in [0, 1]."""
    height, width = generator.integers(28, 300, 2)
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    slope, vignette, grain = generator.uniform(0, [0.2, 0.2, 0.03])
    return generator.uniform(0.6, 0.9) - slope * x - vignette * (x**2 + y**2) + generator.normal(0, grain, x.shape)


def noise(generator: np.random.Generator) -> np.ndarray:
    """Noise of pixels: uniform, normal, or black and white; half of it of blocks of 2 to 8 pixels, (H, W) in [0, 1]."""
    block = generator.integers(2, 9) if generator.random() < 0.5 else 1
    shape = generator.integers(28, 200, 2) // block + 1
    kinds = (generator.random(shape), generator.normal(0.5, 0.2, shape), generator.random(shape) < generator.uniform(0.02, 0.5))
    return np.kron(kinds[generator.integers(3)], np.ones((block, block)))


def page(values: np.ndarray) -> Image.Image:
    """Brightness in [0, 1] as an image."""
    return Image.fromarray(np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8))


@torch.inference_mode()
def embedded_pages(model: EpisodeModel, pages: list[Image.Image]) -> Tensor:
    """Features (n, F), NaN where the ink is no character's."""
    found = [read_ink(image) for image in pages]
    images = torch.from_numpy(np.stack([image for image, _ in found]))[:, None].float() / 255
    features = torch.cat([model.embed(part) for part in images.split(64)])
    features[torch.from_numpy(illegible([report for _, report in found]))] = torch.nan
    return features


if __name__ == "__main__":
    main(tyro.cli(Options))
