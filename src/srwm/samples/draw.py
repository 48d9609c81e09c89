"""How the sample drawings were made: `python -m srwm.samples.draw FOLDER`. Needs `srwm[fewshot]`."""

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from srwm.data.drawings.letters import FIELD_SIDE, UNITS, load_letters
from srwm.data.draws import normal, uniform

LETTERS = {"ayb": "Ա", "ben": "Բ", "gim": "Գ", "da": "Դ", "ech": "Ե"}
PARTS = {"examples": 1, "questions": 2}
SIDE = 96
_SEED = 0
_KNOTS = 3


def drawings(letter: str, count: int, generator: torch.Generator) -> NDArray[np.uint8]:
    """Drawings of one letter, each with a pen of its own, rotated, sheared, bent and shifted; dark on light.

    Args:
        letter: an Armenian letter.
        count: their number.
        generator: where chance comes from.

    Returns:
        (count, 96, 96) uint8.
    """
    letters = load_letters()
    face = int(letters.offsets[letters.names.index(f"Armenian {letter}")])
    middle = torch.from_numpy(letters.fields[face : face + 1, 1:]).float().expand(count, -1, -1, -1) / UNITS
    distance = F.grid_sample(middle, _places(count, generator), mode="bicubic", padding_mode="border", align_corners=False)[
        :, 0
    ]
    radius = 1.0 + uniform(count, 1, 1, generator=generator)
    ink = (0.5 + (radius - distance) * SIDE / FIELD_SIDE).clamp(0, 1)
    paper, pen = 235 + 15 * uniform(count, 1, 1, generator=generator), 20 + 60 * uniform(count, 1, 1, generator=generator)
    return (paper + ink * (pen - paper)).round().to(torch.uint8).numpy()


def _places(count: int, generator: torch.Generator) -> Tensor:
    """Where in a letter's field each pixel of its drawings lies, (count, 96, 96, 2)."""
    angle, shear, right, down = 2 * uniform(4, count, generator=generator) - 1
    angle, shear, size = angle * math.radians(8), 0.15 * shear, 1.15 + 0.2 * uniform(count, generator=generator)
    cos, sin = size * angle.cos(), size * angle.sin()
    rows = torch.stack([cos, shear * cos - sin, 0.2 * right, sin, shear * sin + cos, 0.2 * down], 1)
    straight = F.affine_grid(rows.view(-1, 2, 3), [count, 1, SIDE, SIDE], align_corners=False)
    knots = 0.06 * normal(count, 2, _KNOTS, _KNOTS, generator=generator)
    bends = F.interpolate(knots, (SIDE, SIDE), mode="bicubic", align_corners=True)
    return straight + bends.permute(0, 2, 3, 1)


def write(folder: Path) -> None:
    """Draw all samples and write them as PNG files.

    Args:
        folder: where `examples` and `questions` go.
    """
    from PIL import Image

    generator = torch.Generator().manual_seed(_SEED)
    for name, letter in LETTERS.items():
        made = iter(drawings(letter, sum(PARTS.values()), generator))
        for part, count in PARTS.items():
            (folder / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(1, count + 1):
                Image.fromarray(next(made)).save(folder / part / name / f"{number}.png", optimize=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
