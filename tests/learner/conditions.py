"""One drawn alphabet under 17 conditions of pen, paper and light."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128
LETTERS = 20
_FINE = 3
_KNOTS = 24

Page = np.ndarray
"""(128, 128) or (128, 128, 3), floating in [0, 1]"""


@dataclass(frozen=True)
class Pen:
    """How a letter lies on its page. Lengths are fractions of the page's side."""

    width: float = 0.028
    size: float = 0.55
    degrees: float = 0.0
    place: tuple[float, float] = (0.5, 0.5)


def alphabet(number: int = 0, letters: int = LETTERS) -> list[list[np.ndarray]]:
    """The strokes of each letter: one to three curves of three to five points (n, 2) in the unit square."""
    rng = np.random.default_rng([7, number])
    grid = np.stack(np.meshgrid(*[np.linspace(0.05, 0.95, 4)] * 2), -1).reshape(-1, 2)
    return [
        [grid[rng.choice(16, rng.integers(3, 6), replace=False)] for _ in range(rng.integers(1, 4))] for _ in range(letters)
    ]


def ink(strokes: list[np.ndarray], pen: Pen, rng: np.random.Generator) -> Page:
    """Coverage of a page by a letter whose points have been moved a little, as by a hand."""
    image = Image.new("L", (SIDE * _FINE, SIDE * _FINE))
    draw = ImageDraw.Draw(image)
    angle = np.radians(pen.degrees + rng.uniform(-4, 4))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    width = pen.width * SIDE * _FINE * rng.uniform(0.9, 1.1)
    for stroke in strokes:
        points = _curve(stroke + rng.normal(0, 0.025, stroke.shape))
        points = ((points - 0.5) @ turn.T * pen.size + pen.place) * SIDE * _FINE
        draw.line([tuple(p) for p in points], fill=255, width=max(1, round(width)), joint="curve")
        for x, y in points[[0, -1]]:
            draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=255)
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255


def _curve(points: np.ndarray) -> np.ndarray:
    """A smooth curve through points (Catmull-Rom)."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, _KNOTS, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*parts, points[-1:]])


def _on(paper: Page | float, coverage: Page, reflectance: float = 0.15) -> Page:
    """Ink of a reflectance on paper under the same light."""
    return paper * (1 - coverage * (1 - reflectance / 0.95))


def _axes() -> tuple[Page, Page]:
    return np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]


def _plain(coverage: Page, rng: np.random.Generator) -> Page:
    return _on(0.95, coverage) + rng.normal(0, 0.01, coverage.shape)


def _light_on_dark(coverage: Page, rng: np.random.Generator) -> Page:
    return 0.12 + 0.75 * coverage + rng.normal(0, 0.01, coverage.shape)


def _slope(least: float) -> Callable[[Page, np.random.Generator], Page]:
    def lit(coverage: Page, rng: np.random.Generator) -> Page:
        y, x = _axes()
        angle = rng.uniform(0, 2 * np.pi)
        way = (x * np.cos(angle) + y * np.sin(angle)) / (abs(np.cos(angle)) + abs(np.sin(angle)))
        return _on(0.95 * (least + (1 - least) * (1 + way) / 2), coverage) + rng.normal(0, 0.01, coverage.shape)

    return lit


def _vignette(coverage: Page, rng: np.random.Generator) -> Page:
    y, x = _axes()
    return _on(0.95 * (1 - 0.35 * (x**2 + y**2)), coverage) + rng.normal(0, 0.04, coverage.shape)


def _shadow(coverage: Page, rng: np.random.Generator) -> Page:
    y, x = _axes()
    angle = rng.uniform(0, 2 * np.pi)
    way = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.4, 0.4)
    return _on(0.95 * (1 - 0.45 * np.clip(20 * way + 0.5, 0, 1)), coverage) + rng.normal(0, 0.01, coverage.shape)


def _table(coverage: Page, rng: np.random.Generator) -> Page:
    y, x = _axes()
    edge = 1 - rng.uniform(0.15, 0.35)
    table = np.clip(60 * (x + rng.uniform(-0.06, 0.06) * y - edge), 0, 1)
    page = _on(0.95, coverage) * (1 - table) + 0.25 * table
    return page + rng.normal(0, 0.015, page.shape)


def _ruled(coverage: Page, rng: np.random.Generator) -> Page:
    y = np.arange(SIDE)[:, None] + rng.uniform(0, 20) + np.arange(SIDE) * rng.uniform(-0.02, 0.02)
    line = (y % 20 < 1.6)[..., None] * (1 - np.array([0.62, 0.72, 0.9]))
    return _on(0.95, coverage)[..., None] * (1 - line) + rng.normal(0, 0.01, (SIDE, SIDE, 1))


def _blue(coverage: Page, rng: np.random.Generator) -> Page:
    return 0.94 - coverage[..., None] * (0.94 - np.array([0.16, 0.22, 0.66])) + rng.normal(0, 0.02, (SIDE, SIDE, 1))


def _speck(coverage: Page, rng: np.random.Generator) -> Page:
    y, x = np.mgrid[:SIDE, :SIDE]
    row, column = rng.choice([10, SIDE - 11], 2) + rng.integers(-4, 5, 2)
    return _plain(np.maximum(coverage, np.hypot(y - row, x - column) < rng.uniform(1.5, 3.5)), rng)


def _faint(coverage: Page, rng: np.random.Generator) -> Page:
    return 0.8 - 0.12 * coverage + rng.normal(0, 0.01, coverage.shape)


def _jpeg(coverage: Page, rng: np.random.Generator) -> Page:
    file = io.BytesIO()
    Image.fromarray(_bytes(_plain(coverage, rng))).save(file, "JPEG", quality=20)
    return np.asarray(Image.open(file)) / 255


def _bytes(page: Page) -> np.ndarray:
    return np.rint(255 * np.clip(page, 0, 1)).astype(np.uint8)


Paper = Callable[[Page, np.random.Generator], Page]
CONDITIONS: dict[str, tuple[Pen, Paper]] = {
    "same pen": (Pen(), _plain),
    "thin pen": (Pen(width=0.01), _plain),
    "thick pen": (Pen(width=0.06), _plain),
    "light on dark": (Pen(), _light_on_dark),
    "rotated by 15 degrees": (Pen(degrees=15), _plain),
    "rotated by 30 degrees": (Pen(degrees=30), _plain),
    "small and off-center": (Pen(width=0.014, size=0.25, place=(0.25, 0.7)), _plain),
    "mild gradient": (Pen(), _slope(0.75)),
    "strong gradient": (Pen(), _slope(0.3)),
    "vignette with noise": (Pen(), _vignette),
    "hard shadow": (Pen(), _shadow),
    "dark table edge": (Pen(place=(0.42, 0.5)), _table),
    "ruled lines": (Pen(), _ruled),
    "blue ball-point": (Pen(width=0.014), _blue),
    "speck of dirt": (Pen(), _speck),
    "low contrast": (Pen(), _faint),
    "JPEG at quality 20": (Pen(), _jpeg),
}
"""By name: the pen and the page."""


def render(condition: str, instances: int, seed: int, number: int = 0) -> np.ndarray:
    """Drawings of the whole alphabet under one condition.

    Args:
        condition: a key of `CONDITIONS`.
        instances: drawings of each letter.
        seed: of the drawings.
        number: of the invented alphabet.

    Returns:
        (letters, instances, 128, 128) uint8, or (letters, instances, 128, 128, 3) where the ink has a color.
    """
    pen, paper = CONDITIONS[condition]
    rng = np.random.default_rng([seed, *condition.encode()])
    return np.stack([np.stack([_bytes(paper(ink(s, pen, rng), rng)) for _ in range(instances)]) for s in alphabet(number)])
