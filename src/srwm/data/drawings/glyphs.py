"""Letters drawn by a program: a data set of any size without a download."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from srwm.data.drawings.ink import SIDE, center_ink
from srwm.data.drawings.letters import FIELD_SIDE, UNITS, Letters, letters_key, load_letters
from srwm.data.draws import normal, uniform
from srwm.data.images import ImageClasses, Split
from srwm.data.io.cache import read_cache, write_cache
from srwm.data.io.places import cache_dir

_FORMAT = "1"
_PAGE = 36
_KNOTS = 4
_AT_ONCE = 1024
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Handwriting:
    """Variation of the drawings. Each amount is uniform between plus and minus its limit unless stated otherwise."""

    pen: float = 0.5
    """fraction of letters drawn with a pen along the middle of their strokes; the others keep the outline of the font"""
    thinnest: float = 0.7
    """least width of a pen's stroke, in pixels of 28; the logarithm of the width is uniform"""
    thickest: float = 4.5
    """greatest width of a pen's stroke, in pixels of 28"""
    weight: float = 0.7
    """outward offset of the outline, in pixels of 28"""
    degrees: float = 10.0
    """rotation"""
    shear: float = 0.2
    """horizontal shear: shift of a row per unit of its height"""
    stretch: float = 0.25
    """logarithm of width over height"""
    waves: float = 0.028
    """elastic augmentation, standard deviation as a fraction of the letter's side"""
    blur: float = 0.8
    """largest blur of an edge, uniform from 0, in pixels of 28"""


PRINTED = Handwriting(pen=0, weight=0, degrees=0, shear=0, stretch=0, waves=0, blur=0)
"""letters as their faces have them"""


class GlyphDrawer:
    """Draws any number of instances of every letter; the same seed gives the same images.

    Args:
        letters: the letters; None: those of `load_letters`.
        handwriting: the variation of the drawings; None: the defaults.
    """

    def __init__(self, letters: Letters | None = None, handwriting: Handwriting | None = None) -> None:
        self.letters = load_letters() if letters is None else letters
        self.handwriting = Handwriting() if handwriting is None else handwriting

    def draw(self, split: Split, seed: int, instances: int) -> ImageClasses:
        """Draw images of every class of a split, each in a random font with random augmentation.

        Args:
            split: the split.
            seed: random seed.
            instances: number of images per class.

        Returns:
            The images as a data set.
        """
        classes = torch.from_numpy(self.letters.classes[split]).repeat_interleave(instances, 0)
        generator = torch.Generator().manual_seed(seed)
        images = np.empty((len(classes), 1, SIDE, SIDE), np.uint8)
        for start in range(0, len(classes), _AT_ONCE):
            letter, form = classes[start : start + _AT_ONCE].T
            first, past = torch.from_numpy(self.letters.offsets)[torch.stack([letter, letter + 1])]
            face = first + ((past - first) * uniform(len(letter), generator=generator)).long()
            images[start : start + _AT_ONCE, 0] = self._draw(face, form, self.handwriting, generator)
        return self.classes_of(split, images)

    def classes_of(self, split: Split, images: NDArray[np.uint8]) -> ImageClasses:
        """Combine images of a split to a data set.

        Args:
            split: the split.
            images: (classes * instances, 1, 28, 28) of every class, in the order of the classes.

        Returns:
            The data set.
        """
        offsets = np.linspace(0, len(images), len(self.letters.classes[split]) + 1).astype(np.int64)
        return ImageClasses(f"glyphs-{split}", images, offsets, self._names(split))

    def printed(self, split: Split) -> ImageClasses:
        """Every letter once in each of its fonts, without augmentation; letters with a single font are left out.

        Args:
            split: whose letters are drawn.

        Returns:
            Letters as classes, images (1, 28, 28).
        """
        faces_of = np.diff(self.letters.offsets)[self.letters.classes[split][:, 0]]
        kept = np.flatnonzero(faces_of > 1)
        classes = torch.from_numpy(self.letters.classes[split][kept])
        first, past = torch.from_numpy(self.letters.offsets)[torch.stack([classes[:, 0], classes[:, 0] + 1])]
        faces = torch.cat([torch.arange(f, p, device="cpu") for f, p in zip(first.tolist(), past.tolist(), strict=True)])
        forms = classes[:, 1].repeat_interleave(past - first)
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(faces), _AT_ONCE)]
        images = np.concatenate([self._draw(faces[part], forms[part], PRINTED, None) for part in parts])[:, None]
        offsets = np.concatenate([[0], (past - first).cumsum(0).numpy()])
        names = self._names(split)
        return ImageClasses(f"glyphs-printed-{split}", images, offsets, tuple(names[c] for c in kept))

    def _names(self, split: Split) -> tuple[str, ...]:
        marks = ["", "@90", "@180", "@270", "@m", "@m90", "@m180", "@m270"]
        return tuple(self.letters.names[letter] + marks[form] for letter, form in self.letters.classes[split].tolist())

    def _draw(self, faces: Tensor, forms: Tensor, hand: Handwriting, generator: torch.Generator | None) -> NDArray[np.uint8]:
        fields = torch.from_numpy(self.letters.fields)[faces].float()
        grid = _grid(forms, hand, generator)
        outline, middle = F.grid_sample(fields, grid, padding_mode="border", align_corners=False).unbind(1)
        draws = uniform(4, len(faces), 1, 1, generator=generator)
        pixel = FIELD_SIDE / 28 * UNITS  # the letter takes about as much of its field as of the final image
        radius = pixel / 2 * hand.thinnest * (hand.thickest / hand.thinnest) ** draws[0]
        by_pen = draws[1] < hand.pen
        moved = (2 * draws[2] - 1) * hand.weight * pixel
        sharpness = 1 / (pixel * (0.7 + hand.blur * draws[3]))
        pen = torch.where(by_pen, radius, pixel / 2 * hand.thinnest) - middle  # an outline never breaks: a thin pen runs inside
        ink = torch.where(by_pen, pen, torch.maximum(pen, outline - 128 + moved))
        return center_ink((0.5 + ink * sharpness).clamp(0, 1).numpy())


def load_glyphs(instances: int = 20, seed: int = 0) -> dict[Split, ImageClasses]:
    """Letters as classes, ink bright; drawn once, then read from the cache.

    Scripts and faces of the splits differ: Latin, Greek, Cyrillic, Arabic, Canadian syllabics and others to train, in
    sans-serif and book faces; Hebrew, Lao, Lisu and N'Ko to validate; Armenian and Georgian (Mkhedruli alone, since Omniglot
    has Asomtavruli to train) in DejaVu Serif and DejaVu Sans Mono, faces of no other split, to test. Letters that look the
    same are one class. Training letters rotated by 90 degrees or mirrored are classes of their own where they look like no
    other.

    Args:
        instances: drawings per letter.
        seed: seed of the drawings.

    Returns:
        Images (1, 28, 28) by split.
    """
    drawer = GlyphDrawer()
    path = cache_dir() / f"glyphs-{letters_key()}-{_FORMAT}-{instances}-{seed}.npz"
    images = read_cache(path)
    if images is None:
        images = {split: drawer.draw(split, seed, instances).images for split in _SPLITS}
        write_cache(path, images)
    return {split: drawer.classes_of(split, images[split]) for split in _SPLITS}


def _grid(forms: Tensor, hand: Handwriting, generator: torch.Generator | None) -> Tensor:
    """Where in a field each pixel of the page lies, (B, 36, 36, 2): symmetry, affine and elastic augmentation."""
    count = len(forms)
    limits = torch.tensor([[math.radians(hand.degrees)], [hand.shear], [hand.stretch / 2]], dtype=torch.float32, device="cpu")
    angle, shear, stretch = (2 * uniform(3, count, generator=generator) - 1) * limits
    angle = angle + (forms % 4).float() * (math.pi / 2)
    mirror = 1 - 2 * (forms >= 4)
    cos, sin = angle.cos(), angle.sin()
    wide, high = stretch.exp(), (-stretch).exp()
    zero = torch.zeros_like(angle)
    rows = [mirror * wide * (cos + shear * sin), mirror * wide * (shear * cos - sin), zero, high * sin, high * cos, zero]
    affine = 1.1 * torch.stack(rows, 1).view(-1, 2, 3)
    bends = 2 * hand.waves * normal(count, 2, _KNOTS**2, generator=generator)
    places = torch.cat([affine, bends], 2) @ _grid_basis()
    return places.view(count, 2, _PAGE, _PAGE).permute(0, 2, 3, 1)


@lru_cache(maxsize=1)
def _grid_basis() -> Tensor:
    """What a pixel's place in the field is made of, (3 + 16, 36 * 36): x, y, 1, and the smooth bend that each knot makes."""
    axis = (2 * torch.arange(_PAGE, dtype=torch.float32, device="cpu") + 1) / _PAGE - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    knots = torch.eye(_KNOTS**2, dtype=torch.float32, device="cpu").view(-1, 1, _KNOTS, _KNOTS)
    bends = F.interpolate(knots, (_PAGE, _PAGE), mode="bicubic", align_corners=True).flatten(1)
    return torch.cat([torch.stack([x, y, torch.ones_like(x)]).flatten(1), bends])
