"""Printed letters of several scripts, drawn from the DejaVu fonts that come with Matplotlib: a data set without a download."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srwm.data.images import ImageClasses, Split, with_rotations

SIDE = 28
_FONT_SIZE = 22
_FEWEST = 4
_FONTS = tuple(
    f"DejaVu{face}.ttf"
    for face in (
        *("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique"),
        *("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic"),
        *("SansMono", "SansMono-Bold", "SansMono-Oblique", "SansMono-BoldOblique"),
    )
)
_SCRIPTS: dict[Split, dict[str, tuple[int, int]]] = {
    "train": {
        "Latin capital": (0x41, 0x5A),
        "Latin small": (0x61, 0x7A),
        "phonetic": (0x250, 0x2AF),
        "Greek": (0x391, 0x3C9),
        "Cyrillic": (0x410, 0x44F),
        "Canadian syllabics": (0x1401, 0x1676),
    },
    "val": {"Hebrew": (0x5D0, 0x5EA), "Lao": (0xE81, 0xEAE), "Lisu": (0xA4D0, 0xA4F7)},
    "test": {"Armenian capital": (0x531, 0x556), "Armenian small": (0x561, 0x587), "Georgian": (0x10D0, 0x10FA)},
}


def load_glyphs() -> dict[Split, ImageClasses]:
    """Letters as classes, fonts (4 to 12 that have the letter) as instances, (1, 28, 28), ink bright.

    The scripts of the three splits differ: Latin, Greek, Cyrillic and others to train, Hebrew, Lao and Lisu to validate,
    Armenian and Georgian to test. A letter that looks exactly like an earlier one is left out. Training letters turned by
    90 degrees are classes of their own.
    """
    seen: set[bytes] = set()
    splits: dict[Split, ImageClasses] = {}
    for split, scripts in _SCRIPTS.items():
        groups: dict[str, NDArray[np.uint8]] = {}
        for script, (first, last) in scripts.items():
            for code, images in _draw_range(first, last):
                look = images[0].tobytes()
                if look not in seen:
                    seen.add(look)
                    groups[f"{script} {chr(code)}"] = images
        splits[split] = ImageClasses.from_groups(f"glyphs-{split}", list(groups.values()), list(groups))
    return {**splits, "train": with_rotations(splits["train"])}


def _draw_range(first: int, last: int) -> list[tuple[int, NDArray[np.uint8]]]:
    """The letters from `first` to `last` that at least four fonts have and that fit, each as (fonts, 1, 28, 28)."""
    import matplotlib
    from matplotlib.ft2font import FT2Font
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    drawn: dict[int, list[NDArray[np.uint8]]] = {}
    for path in (folder / font for font in _FONTS):
        letters = FT2Font(str(path)).get_charmap()
        font = ImageFont.truetype(str(path), _FONT_SIZE)
        for code in (code for code in range(first, last + 1) if code in letters):
            left, top, right, bottom = font.getbbox(chr(code))
            if max(right - left, bottom - top) > SIDE:
                continue
            image = Image.new("L", (SIDE, SIDE))
            origin = ((SIDE - left - right) / 2, (SIDE - top - bottom) / 2)
            ImageDraw.Draw(image).text(origin, chr(code), fill=255, font=font)
            drawn.setdefault(code, []).append(np.asarray(image)[None])
    return [(code, np.stack(images)) for code, images in sorted(drawn.items()) if len(images) >= _FEWEST]
