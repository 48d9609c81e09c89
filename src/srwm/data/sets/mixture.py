"""Drawn and printed letters together: Omniglot and the glyphs, all scaled and centered alike."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srwm.data.drawings.glyphs import GlyphDrawer, load_glyphs
from srwm.data.images import ImageClasses, Split
from srwm.data.sets.omniglot import load_omniglot


def load_mixture(data_dir: Path | None = None, instances: int = 20, seed: int = 0) -> dict[Split, ImageClasses]:
    """The classes of Omniglot (centered) and then those of the glyphs, split by split.

    Args:
        data_dir: the folder of Omniglot, as in `load_omniglot`.
        instances: drawings per glyph.
        seed: seed of the drawings.

    Returns:
        The classes by split, images (1, 28, 28).

    Raises:
        UserError: as `load_omniglot`.
    """
    omniglot, glyphs = load_omniglot(data_dir, centered=True), load_glyphs(instances, seed)
    return {split: join(f"omniglot+glyphs-{split}", [omniglot[split], glyphs[split]]) for split in omniglot}


def load_tests(data_dir: Path | None = None, instances: int = 20, seed: int = 0) -> dict[str, ImageClasses]:
    """The test sets of the mixture: characters of Omniglot, drawn glyphs, printed glyphs.

    None of their characters is in training or validation, and no script or face of the glyphs is in training. Four alphabets of
    Omniglot's test have a relative in training (the rest of Gurmukhi; Malayalam: Grantha; Old Church Slavonic: Cyrillic; Syriac
    Serto: Estrangelo). Validation, which chooses the weights, has Armenian and Mkhedruli drawn by hand.

    Args:
        data_dir: as in `load_mixture`.
        instances: as in `load_mixture`.
        seed: as in `load_mixture`.

    Returns:
        "omniglot", "glyphs" and "printed".

    Raises:
        UserError: as `load_omniglot`.
    """
    drawer = GlyphDrawer()
    return {
        "omniglot": load_omniglot(data_dir, rotations=False, centered=True)["test"],
        "glyphs": drawer.draw("test", seed, instances),
        "printed": drawer.printed("test"),
    }


def join(name: str, parts: Sequence[ImageClasses]) -> ImageClasses:
    """Concatenate the classes of data sets of equal image shape.

    Args:
        name: the name of the result.
        parts: the data sets.

    Returns:
        The data set.
    """
    starts = np.cumsum([0, *(len(part.images) for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts[:-1], strict=True)]
    names = tuple(class_name for part in parts for class_name in part.class_names)
    return ImageClasses(name, np.concatenate([part.images for part in parts]), np.concatenate([*offsets, starts[-1:]]), names)
