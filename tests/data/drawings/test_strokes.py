"""What is kept of an image with ink and other things on it, and what is reported."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from srwm.data.drawings.ink import normalize_ink, normalize_ink_images, read_ink, read_ink_images

SIDE = 120


def page(*shapes, side=SIDE):
    """Dark shapes on white paper, (side, side) floating: lines (x, y, x, y, width) and disks (x, y, radius)."""
    image = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        if len(shape) == 3:
            x, y, radius = shape
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=0)
        else:
            draw.line(shape[:4], fill=0, width=shape[4])
    return np.asarray(image) / 255


LETTER = [(40, 35, 40, 85, 5), (40, 60, 80, 60, 5), (80, 60, 70, 90, 5)]
"""a hook with a bar"""


def same(image, expected, tolerance=0.1):
    got, wanted = normalize_ink(image).astype(float), normalize_ink(expected).astype(float)
    return np.abs(got - wanted).sum() / wanted.sum() < tolerance


def test_specks_are_left_out_and_dots_are_kept():
    letter = page(*LETTER)
    assert same(page(*LETTER, (8, 112, 3), (112, 6, 2)), letter)
    dotted, report = read_ink(page(*LETTER, (50, 22, 4), (70, 22, 4)))
    assert report.components == 3
    assert not same(page(*LETTER, (50, 22, 4), (70, 22, 4)), letter), "the dots belong to the letter"
    assert dotted[:7].any()


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("brightness", [0.0, 0.3])
def test_the_edge_of_a_table_is_left_out(turns, brightness):
    letter = page(*LETTER)
    with_table = letter.copy()
    with_table[:, 100:] = brightness
    with_table[:14] = brightness
    assert same(np.rot90(with_table, turns), np.rot90(letter, turns))


@pytest.mark.parametrize("ink", ["dark", "light"])
def test_a_shadow_across_the_letter_does_not_hide_it(ink):
    letter = page(*LETTER)
    lit = np.where(np.add.outer(np.arange(SIDE), np.arange(SIDE)) > SIDE, 1, 0.5)
    image = letter * lit if ink == "dark" else (1 - 0.9 * letter) * lit
    assert same(image, letter, 0.1 if ink == "dark" else 0.3)


def test_a_vignette_with_noise_does_not_hide_the_letter():
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    noise = np.random.default_rng(0).normal(0, 0.03, (SIDE, SIDE))
    image = page(*LETTER) * (1 - 0.35 * (x**2 + y**2)) + noise
    assert same(np.clip(image, 0, 1), page(*LETTER), 0.15)


@pytest.mark.parametrize("darkness", [0.25, 0.9])
@pytest.mark.parametrize("squared", [False, True])
def test_ruled_lines_are_left_out(darkness, squared):
    lines = np.ones((SIDE, SIDE))
    lines[5::20] = 1 - darkness
    if squared:
        lines[:, 12::20] = 1 - darkness
    assert same(page(*LETTER) * lines, page(*LETTER), 0.15)


def test_a_letter_that_fills_its_image_keeps_the_strokes_along_the_border():
    letter = np.ones((60, 40))
    letter[:, :5] = letter[-5:] = letter[28:33, :25] = 0  # strokes along two borders
    padded = np.pad(letter, 30, constant_values=1)
    assert same(letter, padded, 0.02)
    assert read_ink(letter)[1].touches_border
    assert not read_ink(padded)[1].touches_border


def test_the_report_says_what_was_seen():
    image, report = read_ink(page((20, 60, 99, 60, 10)))
    assert report.share == pytest.approx(80 * 10 / SIDE**2, rel=0.05)
    assert report.contrast == pytest.approx(1, abs=0.01)
    assert (report.components, report.symbols, report.touches_border, report.colorfulness) == (1, 1, False, 0)
    assert image.any()
    assert read_ink(0.5 + 0.2 * page(*LETTER))[1].contrast == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("image", [np.full((50, 50), 0.7), np.random.default_rng(0).normal(0.5, 0.05, (90, 90))])
def test_without_ink_the_report_is_empty(image):
    report = read_ink(image)[1]
    assert (report.share, report.contrast, report.components, report.symbols, report.touches_border) == (0, 0, 0, 0, False)


def test_two_letters_are_two_symbols_and_dots_are_none():
    half = [(x / 2.5, y / 2.5, u / 2.5, v / 2.5, 3) for x, y, u, v, _ in LETTER]
    moved = [(x + 60, y, u + 60, v, w) for x, y, u, v, w in half]
    assert read_ink(page(*half, *moved))[1].symbols == 2
    assert read_ink(page(*half))[1].symbols == 1
    assert read_ink(page(*LETTER, (50, 22, 4), (70, 22, 4)))[1].symbols == 1
    assert read_ink(page((30, 50, 90, 50, 5), (30, 65, 90, 65, 5)))[1].symbols == 1, "two bars may be one letter"


def test_photographs_in_color_are_colorful_and_a_blue_pen_is_not():
    letter = page(*LETTER)[..., None]
    blue = letter * 0.95 + (1 - letter) * np.array([0.15, 0.2, 0.7])
    assert read_ink(blue)[1].colorfulness < 0.15
    assert read_ink(np.random.default_rng(0).random((60, 60, 3)))[1].colorfulness > 0.5
    picture = Image.fromarray(np.rint(255 * blue).astype(np.uint8))
    assert read_ink(picture)[1].colorfulness == pytest.approx(read_ink(blue)[1].colorfulness, abs=0.01)


def test_reports_of_many_images_are_those_of_each():
    images = np.stack([page(*LETTER), page((60, 60, 20)), np.ones((SIDE, SIDE))])[:, None]
    made, reports = read_ink_images(images)
    assert np.array_equal(made, normalize_ink_images(images))
    assert reports == [read_ink(image)[1] for image in images]


def test_large_pages_are_reduced():
    image = Image.fromarray(np.rint(255 * page(*LETTER)).astype(np.uint8)).resize((3000, 3000), Image.Resampling.NEAREST)
    assert same(image, page(*LETTER), 0.05)
    assert same(np.asarray(image), page(*LETTER), 0.05)
