"""Normalization of drawings and photographs of letters: bright ink on black, centered, of one size."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srwm.data.io.decode import upright

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 28
INK_SIDE = 22
MAX_SIDE = 8192
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_FAINTEST = 6 / 255
_NOISES = 4.5
_PIXELS_AT_ONCE = 2_000_000

Array = NDArray[np.float32]


def normalize_ink(image: "NDArray[np.generic] | Image") -> NDArray[np.uint8]:
    """One drawing or photograph of a letter, normalized: ink bright on 0, centered, of one size.

    The commoner brightness, that of the border above all, is the background: ink may be dark on light or light on dark.
    An even gradient and noise of the background are taken off, the box around the ink is scaled so that its longer side is
    22 pixels and centered, and brightness is stretched, so that thin strokes of a huge drawing stay bright.
    Where there is no ink (one brightness, or noise alone), all is 0. What is transparent is background. Pillow images are read
    as `srwm.data.io.decode.upright` does.

    Args:
        image: (H, W), (1, H, W), (H, W, 3) or (H, W, 4), uint8 or floating in [0, 1], or a PIL image; 1 to 8192 pixels a side.

    Returns:
        (28, 28) uint8.

    Raises:
        ValueError: image has another shape, type, size or value (NaN, infinite, out of range), or is damaged.
    """
    ink: NDArray[np.uint8] = normalize_ink_images(_gray(image)[None, None])[0, 0]
    return ink


def normalize_ink_images(images: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Several images, each normalized on its own as by `normalize_ink`.

    Args:
        images: (I, 1, H, W), uint8 or floating in [0, 1].

    Returns:
        (I, 1, 28, 28) uint8.

    Raises:
        ValueError: as `normalize_ink`, for images.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"images: expected (I, 1, H, W), got {images.shape}")
    _check_size("images", *images.shape[2:])
    _check_values("images", images)
    at_once = max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
    out = np.zeros((len(images), 1, SIDE, SIDE), np.uint8)
    for start in range(0, len(images), at_once):
        part = slice(start, start + at_once)
        out[part, 0] = center_ink(_ink(_to_float(images[part, 0])))
    return out


def _gray(image: "NDArray[np.generic] | Image") -> Array:
    pixels = image if isinstance(image, np.ndarray) else _pixels(image)
    picture = pixels is not image
    colors = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and (picture or pixels.shape[0] != 1)
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[0] == 1) or colors):
        raise ValueError(f"image: expected (H, W), (1, H, W), (H, W, 3) or (H, W, 4), got {pixels.shape}")
    _check_size("image", *(pixels.shape[:2] if colors or pixels.ndim == 2 else pixels.shape[1:]))
    _check_values("image", pixels)
    values = _to_float(pixels)
    if not colors:
        return values.reshape(values.shape[-2:])
    gray: Array = values[..., :3] @ _LUMINANCE
    return _over_background(gray, values[..., 3]) if values.shape[2] == 4 else np.clip(gray, 0, 1)


def _pixels(image: "Image") -> NDArray[np.uint8]:
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise ValueError(f"image: expected an array or a PIL image, got {type(image).__name__}")
    _check_size("image", image.height, image.width)
    try:
        return np.asarray(upright(image).convert("RGBA"))
    except (ValueError, MemoryError) as error:
        raise ValueError(f"image: {error}") from error


def _over_background(gray: Array, alpha: Array) -> Array:
    """What lies behind a mostly transparent picture contrasts with it; a mostly opaque one goes on in its own brightness."""
    visible = float(alpha.mean())
    mean = float((gray * alpha).mean()) / max(visible, 1e-6)
    behind = mean if visible > 0.5 else float(mean < 0.5)
    return np.clip(behind + alpha * (gray - behind), 0, 1).astype(np.float32)


def _check_size(name: str, height: int, width: int) -> None:
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"{name}: expected 1 to {MAX_SIDE} pixels a side, got {height} x {width}")


def _check_values(name: str, values: NDArray[np.generic]) -> None:
    if values.dtype == np.uint8 or not values.size:
        return
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{name}: expected uint8 or floating in [0, 1], got {values.dtype}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite values, got NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(f"{name}: expected floating values in [0, 1], got {low:g} to {high:g}")


def _to_float(values: NDArray[np.generic]) -> Array:
    scale = np.float32(1 / 255 if values.dtype == np.uint8 else 1)
    return values.astype(np.float32) * scale


def center_ink(ink: Array) -> NDArray[np.uint8]:
    """The last steps of `normalize_ink`, for what is known to be ink: coverage (B, H, W) in [0, 1] -> (B, 28, 28) uint8.

    Args:
        ink: coverage (B, H, W) in [0, 1].

    Returns:
        The images (B, 28, 28), ink bright, centered and at one size.
    """
    rows, columns = _box((ink > 0.4).any(2)), _box((ink > 0.4).any(1))
    scale = np.maximum(rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0]) / INK_SIDE
    down = _weights(ink.shape[1], rows.mean(1), scale)
    right = _weights(ink.shape[2], columns.mean(1), scale)
    small = down @ ink @ right.transpose(0, 2, 1)
    typical = (small**2).sum((1, 2)) / np.maximum(small.sum((1, 2)), 1e-12)  # the brightness of ink, as ink itself weighs it
    stretched = np.minimum(small / np.maximum(typical, 1e-12)[:, None, None], 1)
    return np.asarray(np.rint(255 * stretched), np.uint8)


def _ink(gray: Array) -> Array:
    """Coverage by ink in [0, 1], (B, H, W): the distance from a plane through the background, in units of the ink's."""
    above, _ = _halves(gray)
    rest = gray - _plane(gray, ~above)
    above, bright = _halves(rest)
    sign = np.where(bright, 1, -1).astype(np.float32)[:, None, None]
    rest = sign * (gray - _plane(gray, ~above))
    background = ~above
    count = np.maximum(background.sum((1, 2)), 1)
    noise = np.sqrt((rest**2 * background).sum((1, 2)) / count)
    contrast = (rest * above).sum((1, 2)) / np.maximum(above.sum((1, 2)), 1)
    there = (contrast > _FAINTEST) & (contrast > _NOISES * noise)
    contrast = np.where(there, contrast, 1)
    floor = np.clip(3 * noise / contrast, 0.15, 0.6)
    coverage = (rest / contrast[:, None, None] - floor[:, None, None]) / (1 - floor)[:, None, None]
    return np.asarray(np.clip(coverage, 0, 1) * there[:, None, None], np.float32)


def _halves(values: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rarer of the bright and the dark half, by Otsu's threshold: where it is (B, H, W), and whether it is bright (B).

    A half's share counts twice, among all pixels and among those of the border.
    """
    low = values.min((1, 2), keepdims=True)
    reach = values.max((1, 2), keepdims=True) - low
    levels = ((values - low) * (255 / np.maximum(reach, 1e-6))).astype(np.uint8)
    bright = levels > _otsu(levels.reshape(len(levels), -1))[:, None, None]
    border = np.concatenate([bright[:, 0], bright[:, -1], bright[:, :, 0], bright[:, :, -1]], axis=1)
    is_bright = bright.mean((1, 2)) + border.mean(1) <= 1
    return bright ^ ~is_bright[:, None, None], is_bright


def _otsu(levels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each row, the level (0 ... 254) above which the brighter of two classes lies: largest variance between them."""
    keys = levels + 256 * np.arange(len(levels), dtype=np.int64)[:, None]
    counts = np.bincount(keys.ravel(), minlength=256 * len(levels)).reshape(-1, 256) / levels.shape[1]
    share = counts.cumsum(1)
    mass = (counts * np.arange(256)).cumsum(1)
    between = (mass[:, -1:] * share - mass) ** 2 / np.maximum(share * (1 - share), 1e-12)
    best = between[:, :255]
    ties = best >= best.max(1, keepdims=True) * (1 - 1e-9)  # of a whole gap between two classes, its middle
    return np.asarray((ties.argmax(1) + 254 - ties[:, ::-1].argmax(1)) // 2)


def _plane(values: Array, where: NDArray[np.bool_]) -> Array:
    """The plane over the image that fits `values` best on the pixels `where`, (B, H, W)."""
    v, u = (np.linspace(-1, 1, side, dtype=np.float32) if side > 1 else np.zeros(1, np.float32) for side in values.shape[1:])
    weight = where.astype(np.float32)
    moments = np.stack([v**0, v, v**2]) @ weight @ np.stack([u**0, u, u**2], 1)
    sums = np.stack([v**0, v]) @ (values * weight) @ np.stack([u**0, u], 1)
    m = np.moveaxis(moments.astype(np.float64), 0, -1)
    system = np.array([[m[0, 0], m[1, 0], m[0, 1]], [m[1, 0], m[2, 0], m[1, 1]], [m[0, 1], m[1, 1], m[0, 2]]])
    system = np.moveaxis(system, -1, 0) + 1e-4 * np.eye(3)
    target = np.stack([sums[:, 0, 0], sums[:, 1, 0], sums[:, 0, 1]], 1).astype(np.float64)
    level, down, right = np.linalg.solve(system, target[..., None])[..., 0].T.astype(np.float32)[..., None, None]
    return np.asarray(level + down * v[:, None] + right * u, np.float32)


def _box(occupied: NDArray[np.bool_]) -> NDArray[np.float64]:
    """First and one past the last True of each row, (B, 2); the whole row where there is none."""
    first, past = occupied.argmax(1), occupied.shape[1] - occupied[:, ::-1].argmax(1)
    return np.stack([first, past], axis=1, dtype=np.float64)


def _weights(side: int, center: NDArray[np.float64], scale: NDArray[np.float64]) -> Array:
    """Antialiased resampling, (B, 28, side): a triangle two output pixels wide, integrated over every input pixel."""
    first = SIDE / 2 - 0.5 - center / scale  # every output pixel's place, and every input edge's, in output pixels
    edges = (np.arange(side + 1) / scale[:, None] + first[:, None]).astype(np.float32)
    edges = np.clip(edges[:, None] - np.arange(SIDE, dtype=np.float32)[:, None], -1, 1)
    integral = 0.5 + edges - 0.5 * edges * np.abs(edges)
    return np.asarray(np.diff(integral, axis=2), np.float32)
