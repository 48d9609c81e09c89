"""Letters of many scripts as distance fields, computed from the fonts that come with Matplotlib."""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from srwm.data.drawings.ink import center_ink
from srwm.data.images import Split
from srwm.data.io.cache import read_cache, write_cache
from srwm.data.io.places import cache_dir

Scripts: TypeAlias = Mapping[str, tuple[tuple[int, int], ...]]
"""Ranges of code points, first and last, by the name of the script."""
FIELD_SIDE = 48
UNITS = 8
"""units of a stored distance per pixel of the field"""
_LETTER_SIDE = 34
_FONT_SIZE = 64
_ALIKE = 0.07
_FARTHEST = 12
_FORMAT = "1"

_FACES: dict[Split, tuple[str, ...]] = {
    "train": (
        *("DejaVuSans", "DejaVuSans-Bold", "STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "STIXGeneralBolIta"),
        *("cmr10", "cmss10", "cmtt10", "cmti10"),
    ),
    "val": ("DejaVuSans", "DejaVuSans-Bold"),
    "test": (
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        *("DejaVuSansMono", "DejaVuSansMono-Bold"),
    ),
}
_ASCII_FACES = ("cmr10", "cmss10", "cmtt10", "cmti10")
_SCRIPTS: dict[Split, Scripts] = {
    "train": {
        "Latin": ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x2C60, 0x2C7B), (0xA722, 0xA78C)),
        "Greek": ((0x370, 0x3FF),),
        "Cyrillic": ((0x400, 0x527), (0xA640, 0xA695)),
        "digit": ((0x32, 0x39),),
        "Arabic": ((0x621, 0x6D3),),
        "Tifinagh": ((0x2D30, 0x2D65),),
        "Old Italic": ((0x10300, 0x1031E),),
        "Canadian": ((0x1401, 0x1676),),
        "script": ((0x1D49C, 0x1D4CF), (0x1D504, 0x1D537), (0x1D538, 0x1D56B)),
    },
    "val": {"Hebrew": ((0x5D0, 0x5EA),), "Lao": ((0xE81, 0xEAE),), "Lisu": ((0xA4D0, 0xA4F7),), "NKo": ((0x7CA, 0x7E7),)},
    "test": {"Armenian": ((0x531, 0x556), (0x561, 0x587)), "Georgian": ((0x10D0, 0x10FA),)},
}


@dataclass(frozen=True)
class Letters:
    """Letters that differ in look, each in the faces that its split may use.

    Args:
        fields: (F, 2, 48, 48) uint8, one per letter and face: 128 + 8 * the distance to the outline, positive inside, and
            8 * the distance to the middle of the strokes, both in pixels.
        offsets: (letters + 1,); letter l owns fields[offsets[l]:offsets[l + 1]].
        names: one name per letter.
        classes: (classes, 2) int64 by split: a letter and one of the eight symmetries of the square (s % 4 quarter turns
            counter-clockwise, mirrored first where s >= 4; 0 outside of training).
    """

    fields: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    names: tuple[str, ...]
    classes: dict[Split, NDArray[np.int64]]


@lru_cache(maxsize=1)
def load_letters() -> Letters:
    """All letters; drawn and compared at the first call on a machine, then read from the cache.

    Returns:
        The letters.
    """
    path = cache_dir() / f"letters-{letters_key()}.npz"
    arrays = read_cache(path)
    if arrays is None:
        arrays = _make()
        write_cache(path, arrays)
    classes: dict[Split, NDArray[np.int64]] = {split: arrays[split] for split in _SCRIPTS}
    return Letters(arrays["fields"], arrays["offsets"], tuple(arrays["names"].tolist()), classes)


def load_font_letters(fonts: Sequence[Path], scripts: Scripts, variations: Sequence[str | None] = (None,)) -> Letters:
    """The letters of other scripts and fonts, as a test split.

    Args:
        fonts: font files; each is a face.
        scripts: ranges of code points by the name of the script.
        variations: named variations of variable fonts; each is a face of its own.

    Returns:
        The letters that the fonts have.

    Raises:
        OSError: a file is no font.
        ValueError: no font has a letter of these scripts.
    """
    found = dict(_drawn(scripts, [_Face(font, variation) for font in fonts for variation in variations]))
    if not found:
        raise ValueError(f"scripts: expected some that {', '.join(font.name for font in fonts)} have, got {', '.join(scripts)}")
    pictures = np.concatenate([np.stack(drawn) for drawn in found.values()])
    offsets = np.cumsum([0, *map(len, found.values())], dtype=np.int64)
    classes = _classes(pictures[offsets[:-1]], ["test"] * len(found))
    return Letters(_fields(pictures), offsets, tuple(found), classes)


def letters_key() -> str:
    """What the letters depend on, as a short name.

    Returns:
        The name.
    """
    import matplotlib

    digest = hashlib.blake2b(f"{_FORMAT} {matplotlib.__version__} {_FACES} {_SCRIPTS}".encode(), digest_size=8)
    return digest.hexdigest()


def _make() -> dict[str, NDArray[Any]]:
    pictures: list[NDArray[np.uint8]] = []
    counts, names, splits = [], [], []
    for split, scripts in _SCRIPTS.items():
        for name, drawn in _drawn(scripts, [_packaged(face) for face in _FACES[split]]):
            pictures += drawn
            counts.append(len(drawn))
            names.append(name)
            splits.append(split)
    offsets = np.cumsum([0, *counts], dtype=np.int64)
    drawn_all = np.stack(pictures)
    classes = _classes(drawn_all[offsets[:-1]], splits)
    fields = np.concatenate([_fields(drawn_all[start : start + 256]) for start in range(0, len(drawn_all), 256)])
    return {
        "fields": fields,
        "offsets": offsets,
        "names": np.array(names),
        **{str(split): of_split for split, of_split in classes.items()},
    }


def _drawn(scripts: Scripts, faces: Sequence["_Face"]) -> Iterator[tuple[str, list[NDArray[np.uint8]]]]:
    """The name of each letter that a face has, and its pictures."""
    for script, code in _codes(scripts):
        drawn = [picture for face in faces if (picture := face.draw(code)) is not None]
        if drawn:
            yield f"{script} {chr(code)}", drawn


def _codes(scripts: Scripts) -> Iterator[tuple[str, int]]:
    """Letters that are not composed of others (no accents, no ligatures), and digits."""
    for script, ranges in scripts.items():
        for first, last in ranges:
            for code in range(first, last + 1):
                category, parts = unicodedata.category(chr(code)), unicodedata.decomposition(chr(code))
                if category in ("Lu", "Ll", "Lo", "Nd") and (not parts or script == "script"):
                    yield script, code


def _packaged(name: str) -> "_Face":
    """A face that comes with Matplotlib."""
    import matplotlib

    return _Face(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", ascii_alone=name in _ASCII_FACES)


class _Face:
    """One font file; of a variable one, the named variation."""

    def __init__(self, path: Path, variation: str | None = None, ascii_alone: bool = False) -> None:
        from matplotlib.ft2font import FT2Font
        from PIL import ImageFont

        self.font = ImageFont.truetype(str(path), _FONT_SIZE)
        if variation is not None:
            self.font.set_variation_by_name(variation)
        self.codes = {code for code in FT2Font(str(path)).get_charmap() if not ascii_alone or code < 0x80}

    def draw(self, code: int) -> NDArray[np.uint8] | None:
        """The letter with its longer side filling 34 of 48 pixels, centered; None where the face lacks it."""
        from PIL import Image, ImageDraw

        if code not in self.codes:
            return None
        left, top, right, bottom = self.font.getbbox(chr(code))
        if right <= left or bottom <= top:
            return None
        page = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
        ImageDraw.Draw(page).text((2 - left, 2 - top), chr(code), fill=255, font=self.font)
        box = page.getbbox()
        if box is None:
            return None
        width, height = box[2] - box[0], box[3] - box[1]
        scale = _LETTER_SIDE / max(width, height)
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        letter = page.resize(size, Image.Resampling.BOX, box=box)
        canvas = Image.new("L", (FIELD_SIDE, FIELD_SIDE))
        canvas.paste(letter, ((FIELD_SIDE - size[0]) // 2, (FIELD_SIDE - size[1]) // 2))
        return np.asarray(canvas)


def _classes(pictures: NDArray[np.uint8], splits: list[Split]) -> dict[Split, NDArray[np.int64]]:
    """Of letters (L, 48, 48) and, to train, their rotated and mirrored forms: those that look like none before them."""
    symmetric = np.stack([np.rot90(p, turn, (1, 2)) for p in (pictures, pictures[:, :, ::-1]) for turn in range(4)])
    looks = _looks(symmetric.reshape(-1, FIELD_SIDE, FIELD_SIDE)).reshape(8, len(pictures), -1)
    kept = np.zeros((0, looks.shape[2]), np.float32)
    classes: dict[Split, NDArray[np.int64]] = {}
    for split in _SCRIPTS:
        letters = np.array([i for i, s in enumerate(splits) if s == split])
        forms = 8 if split == "train" else 1
        candidates = [(letter, form) for form in range(forms) for letter in letters.tolist()]
        chosen = []
        for start in range(0, len(candidates), 512):
            part = candidates[start : start + 512]
            look = np.stack([looks[form, letter] for letter, form in part])
            fresh = (look @ kept.T).max(1, initial=-1) < 1 - _ALIKE
            among = look @ look.T >= 1 - _ALIKE
            for i in np.flatnonzero(fresh):
                fresh[i] = not among[i, :i][fresh[:i]].any()
            kept = np.concatenate([kept, look[fresh]])
            chosen += [pair for pair, new in zip(part, fresh, strict=True) if new]
        classes[split] = np.array(chosen, np.int64)
    return classes


def _looks(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What two pictures are compared by: a blurred 14 x 14 picture, centered on its mean, of unit length."""
    parts = []
    for start in range(0, len(pictures), 512):
        small = torch.from_numpy(center_ink(pictures[start : start + 512].astype(np.float32) / 255)).float()[:, None]
        parts.append(torch.nn.functional.avg_pool2d(small, 3, stride=2, padding=1).flatten(1))
    looks = torch.cat(parts)
    looks -= looks.mean(1, keepdim=True)
    return np.asarray(torch.nn.functional.normalize(looks).numpy(), np.float32)


def _fields(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Distance fields (B, 2, 48, 48) of pictures (B, 48, 48)."""
    ink = torch.from_numpy(pictures) > 127
    outline = _distance(~ink) - _distance(ink) + torch.where(ink, -0.5, 0.5).float()
    middle = _distance(_thinned(ink))
    coded = torch.stack([128 + UNITS * outline, UNITS * middle], 1)
    return coded.round().clamp(0, 255).to(torch.uint8).numpy()


def _distance(of: torch.Tensor) -> torch.Tensor:
    """Euclidean distance of every pixel to the nearest True one, at most about 12 pixels, (B, S, S)."""
    square = torch.where(of, 0.0, 2.0 * _FARTHEST**2).float()
    for axis in (1, 2):
        best = square.clone()
        for step in range(1, _FARTHEST + 1):
            reach = square.shape[axis] - step
            near, far = best.narrow(axis, 0, reach), best.narrow(axis, step, reach)
            torch.minimum(near, square.narrow(axis, step, reach) + step**2, out=near)
            torch.minimum(far, square.narrow(axis, 0, reach) + step**2, out=far)
        square = best
    return square.clamp(max=_FARTHEST**2).sqrt()


def _thinned(ink: torch.Tensor) -> torch.Tensor:
    """Strokes thinned to lines of one pixel (Zhang and Suen, 1984), (B, S, S) bool."""
    whole = ink.to(torch.uint8)
    active = torch.arange(len(ink), device="cpu")
    while len(active):
        ink = whole[active]
        before = ink.clone()
        for first in (True, False):
            p = torch.nn.functional.pad(ink, (1, 1, 1, 1))
            n, s, w, e = p[:, :-2, 1:-1], p[:, 2:, 1:-1], p[:, 1:-1, :-2], p[:, 1:-1, 2:]
            ring = [n, p[:, :-2, 2:], e, p[:, 2:, 2:], s, p[:, 2:, :-2], w, p[:, :-2, :-2]]
            count, rises = torch.zeros_like(ink), torch.zeros_like(ink)
            for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
                count += a
                rises += (1 - a) & b
            kept = (n & e & s) | (e & s & w) if first else (n & e & w) | (n & s & w)
            kept |= ((count < 2) | (count > 6) | (rises != 1)).to(torch.uint8)
            ink &= kept
        whole[active] = ink
        active = active[(ink != before).flatten(1).any(1)]
    return whole.bool()
