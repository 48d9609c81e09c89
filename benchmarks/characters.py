"""The heads of the packaged checkpoint on characters of scripts that took no part in its making, beside nearest neighbors.

    pip install fontpkg-noto-sans-{khmer,tamil,telugu,thai}
    python benchmarks/characters.py --data-dir DATA --fonts SITE-PACKAGES/fontpkg_noto_sans_*/files/*.ttf

Of Omniglot's test alphabets those are left out that have a near relative in its training: Gurmukhi (the same alphabet),
Malayalam (Grantha), Old Church Slavonic (Cyrillic) and Syriac Serto (Syriac Estrangelo). Of the drawn glyphs Armenian alone is
in no training part of the mixture (Omniglot's validation has it drawn by hand). The fonts may be any that have letters of the
scripts below.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from srwm import load_model
from srwm.data import ImageClasses
from srwm.data.drawings.glyphs import GlyphDrawer
from srwm.data.drawings.letters import Scripts, load_font_letters
from srwm.data.sets.mixture import load_tests
from srwm.fewshot.episodes import EpisodeShape
from srwm.fewshot.evaluation.baselines import BASELINES, evaluate_baselines
from srwm.fewshot.evaluation.evaluate import embed_views, evaluate
from srwm.fewshot.models.base import EpisodeModel
from srwm.fewshot.models.factory import with_head
from srwm.fewshot.models.residual import ResidualModel

SCRIPTS: Scripts = {
    "Khmer": ((0x1780, 0x17B3), (0x17E0, 0x17E9)),
    "Tamil": ((0xB83, 0xBB9), (0xBE6, 0xBF2)),
    "Telugu": ((0xC05, 0xC39), (0xC58, 0xC61), (0xC66, 0xC6F)),
    "Thai": ((0xE01, 0xE46), (0xE50, 0xE59)),
}
VARIATIONS = ("Thin", "Regular", "Black")
RELATED = ("Gurmukhi", "Malayalam", "Old_Church_Slavonic_(Cyrillic)", "Syriac_(Serto)")


@dataclass(frozen=True)
class Options:
    """Test a checkpoint on scripts that did not train it."""

    fonts: tuple[Path, ...] = ()
    """variable fonts that have letters of Khmer, Tamil, Telugu or Thai"""
    data_dir: Path | None = None
    """folder of Omniglot"""
    model: str = "characters"
    """what `srwm.load_model` takes"""
    left_out: tuple[str, ...] = RELATED
    """alphabets of Omniglot's test that have a near relative in the training of the model"""
    ways: tuple[int, ...] = (5, 20)
    """classes in an episode"""
    tta_passes: int = 1
    """number of test-time-augmented passes, as of a `FewShotLearner`"""
    episodes: int = 10_000
    """episodes of each test"""
    seed: int = 1
    """seed of drawings and episodes"""


def main(options: Options) -> None:
    """Print a row for each test."""
    model = load_model(options.model)
    heads = heads_of(model)
    print("|", " | ".join(["test", "characters", "ways", *heads, *BASELINES]), "|")
    print("|", " | ".join(["---"] * (3 + len(heads) + len(BASELINES))), "|")
    for name, data in tests(options).items():
        with torch.inference_mode():
            features = embed_views(model, data, options.tta_passes)
        for ways in options.ways:
            shape = EpisodeShape(ways, 1, queries=10, slots=model.config.n_way)
            arguments = (shape, options.episodes, options.seed, features, options.tta_passes)
            found = [evaluate(head, data, *arguments) for head in heads.values()]
            baselines = evaluate_baselines(model, data, *arguments)
            print("|", " | ".join([name, str(len(data)), str(ways), *map(str, (*found, *baselines.values()))]), "|", flush=True)


def heads_of(model: EpisodeModel) -> dict[str, EpisodeModel]:
    """Class means and memory of a model with both; else the model itself."""
    if not isinstance(model, ResidualModel):
        return {"the model": model}
    return {"prototypes": with_head(model, "prototypes"), "memory": with_head(model, "memory")}


def tests(options: Options) -> dict[str, ImageClasses]:
    """The data sets by what they are."""
    known = load_tests(options.data_dir, seed=options.seed)
    found = {
        "Omniglot, alphabets without a near relative in training": but(known["omniglot"], options.left_out),
        "drawn glyphs, Armenian alone": but(known["glyphs"], ("Georgian",)),
    }
    if options.fonts:
        drawer = GlyphDrawer(load_font_letters(options.fonts, SCRIPTS, VARIATIONS))
        scripts = "Khmer, Tamil, Telugu, Thai"
        found |= {
            f"drawn glyphs, {scripts}": drawer.draw("test", options.seed, 20),
            f"printed, {scripts}": drawer.printed("test"),
        }
    return found


def but(data: ImageClasses, left_out: tuple[str, ...]) -> ImageClasses:
    """The classes that no such word occurs in."""
    return data.select([c for c, name in enumerate(data.class_names) if not any(word in name for word in left_out)], data.name)


if __name__ == "__main__":
    main(tyro.cli(Options))
