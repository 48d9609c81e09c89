import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from srwm.data.drawings.ink import normalize_ink, normalize_ink_images


def drawing(seed, side=60, width=4):
    """Strokes of 1 on 0, (side, side) uint8, with some room at the border."""
    points = np.random.default_rng(seed).integers(side // 6, side - side // 6, (4, 2)).tolist()
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).line([tuple(point) for point in points], fill=1, width=width)
    return np.asarray(image)


def difference(a, b):
    """Mean absolute difference per unit of ink."""
    a, b = a.astype(float), b.astype(float)
    return np.abs(a - b).sum() / b.sum()


SEEDS = st.integers(0, 10_000)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, 100), st.integers(0, 60))
def test_place_does_not_matter(seed, down, right):
    ink = drawing(seed)
    page = np.zeros((170, 130), np.uint8)
    page[down : down + 60, right : right + 60] = ink
    assert difference(normalize_ink(255 * page), normalize_ink(255 * ink)) < 0.01


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(0, 255), st.integers(0, 255))
@example(0, 0, 3)
def test_brightness_and_contrast_do_not_matter(seed, ink, paper):
    shape = drawing(seed)
    image = np.where(shape, ink, paper).astype(np.uint8)
    if abs(ink - paper) < 8:
        assert not normalize_ink(image).any() or abs(ink - paper) > 5
    else:
        assert difference(normalize_ink(image), normalize_ink(255 * shape)) < 0.02


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(2, 5))
def test_resolution_does_not_matter(seed, times):
    ink = 255 * drawing(seed)
    assert difference(normalize_ink(np.kron(ink, np.ones((times, times), np.uint8))), normalize_ink(ink)) < 0.01


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.booleans())
def test_a_gradient_and_noise_of_the_paper_are_taken_off(seed, dark):
    ink = drawing(seed, side=100, width=5)
    rng = np.random.default_rng(seed)
    slope = np.linspace(-0.1, 0.1, 100)
    image = 0.3 + 0.4 * ink + slope + slope[:, None] * rng.uniform(-1, 1) + rng.normal(0, 0.02, ink.shape)
    image = np.clip(1 - image if dark else image, 0, 1)
    assert difference(normalize_ink(image), normalize_ink(255 * ink)) < 0.12


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_a_line_of_one_pixel_on_a_huge_page_stays_bright_along_its_length(angle):
    page = Image.new("L", (400, 400), 255)
    ImageDraw.Draw(page).line([(20, 200 - 180 * angle), (380, 200 + 180 * angle)], fill=0, width=1)
    ink = normalize_ink(page)
    assert ink[:, 4:24].max(0).min() > 120


def test_the_longer_side_fills_22_pixels_in_the_middle():
    page = np.zeros((90, 200), np.uint8)
    page[10:20, 30:90] = 255
    ink = normalize_ink(page)
    assert np.array_equal(ink, ink[::-1])
    assert np.array_equal(ink, ink[:, ::-1])
    assert (ink > 127).any(0).sum() == 22
    assert 3 <= (ink > 127).any(1).sum() <= 5, "10 of 60 pixels, of 22"


@pytest.mark.parametrize("side", [1, 2, 57])
@pytest.mark.parametrize("value", [0, 117, 255])
def test_one_brightness_is_no_ink(side, value):
    assert not normalize_ink(np.full((side, 3 * side), value, np.uint8)).any()


def test_noise_alone_is_no_ink():
    noise = np.clip(np.random.default_rng(0).normal(0.6, 0.05, (80, 80)), 0, 1)
    assert not normalize_ink(noise).any()
    assert not normalize_ink(np.linspace(0.2, 0.7, 100 * 100).reshape(100, 100)).any(), "nor is a gradient"


@pytest.mark.parametrize("dark", [False, True])
def test_small_images_keep_their_gray_edges(dark):
    page = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(page).ellipse([10, 2, 54, 62], outline=255, width=11)
    small = np.asarray(page.resize((8, 8), Image.Resampling.BOX))
    ink = normalize_ink(255 - small if dark else small)
    assert np.corrcoef(ink.ravel(), normalize_ink(page).ravel())[0, 1] > 0.9
    assert len(np.unique(ink)) > 50, "smooth, not of square pixels"
    assert not normalize_ink(np.full((8, 8), 7, np.uint8)).any()


def test_every_form_of_an_image_means_the_same():
    ink = 255 * drawing(3)
    paper = 255 - ink
    color = np.stack([paper] * 3, -1)
    clear = np.dstack([np.zeros_like(color), ink])  # black on nothing
    white = np.dstack([np.full_like(color, 255), ink])  # white on nothing
    expected = normalize_ink(paper)
    assert expected.shape == (28, 28)
    assert expected.dtype == np.uint8
    forms = [ink, paper[None], color, clear, white, paper / 255, (ink / 255).astype(np.float32)]
    forms += [Image.fromarray(paper), Image.fromarray(clear), paper.astype(np.uint16) * 257, ink > 0]
    for form in forms:
        assert difference(normalize_ink(form), expected) < 0.01
    assert np.array_equal(normalize_ink_images(np.stack([paper[None]] * 3))[1, 0], expected)


def test_an_image_is_not_changed_by_its_neighbors():
    images = np.stack([255 * drawing(seed)[None] for seed in range(5)])
    together = normalize_ink_images(images)
    for image, expected in zip(images, together, strict=True):
        assert np.array_equal(normalize_ink(image), expected[0])
    assert normalize_ink_images(images[:0]).shape == (0, 1, 28, 28)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((5, 5), np.nan), "image: expected finite values, got NaN"),
        (np.full((5, 5), np.inf), "image: expected finite values"),
        (np.full((5, 5), 1.5), r"image: expected floating values in \[0, 1\], got 1.5"),
        (np.zeros((5, 5), np.int64), "image: expected bool, uint8, uint16 or floating in .* got int64"),
        (np.zeros(5, np.uint8), r"image: expected \(H, W\).* got \(5,\)"),
        (np.zeros((5, 5, 2), np.uint8), r"image: expected \(H, W\)"),
        (np.zeros((0, 5), np.uint8), "image: expected 1 to 8192 pixels a side, got 0 x 5"),
        (np.zeros((1, 9000), np.uint8), "image: expected 1 to 8192 pixels a side, got 1 x 9000"),
        (Image.new("L", (9000, 1)), "image: expected 1 to 8192 pixels a side, got 1 x 9000"),
        ([[0, 1]], "image: expected an array or a PIL image, got list"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        normalize_ink(image)


def test_a_wrong_batch_is_refused():
    with pytest.raises(ValueError, match=r"^images: expected \(I, 1, H, W\), got \(2, 3, 5, 5\)"):
        normalize_ink_images(np.zeros((2, 3, 5, 5), np.uint8))


@pytest.mark.parametrize("size", [(50, 1), (1, 50), (1, 1), (3, 1), (4, 1)])
def test_a_picture_one_pixel_high_or_wide_is_read_as_its_array(size):
    image = Image.linear_gradient("L").resize(size)
    assert np.array_equal(normalize_ink(image), normalize_ink(np.asarray(image)))
    assert not normalize_ink(Image.new("L", size, 7)).any()


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pictures_are_read_as_those_of_8_bits(mode):
    pixels = 100 + 100 * drawing(3)
    deep = {"I;16": pixels.astype(np.uint16) * 257, "I": pixels.astype(np.int32) * 257, "F": pixels.astype(np.float32)}[mode]
    image = Image.fromarray(deep)
    assert image.mode == mode
    assert np.array_equal(normalize_ink(image), normalize_ink(pixels))


def test_a_closed_picture_is_refused(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png")
    image.close()
    with pytest.raises(ValueError, match="image: not a readable image"):
        normalize_ink(image)
