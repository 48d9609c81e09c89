"""The brightness of images of letters, whatever form they come in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srwm.data.io.decode import upright

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 8192
WORKING_SIDE = 512
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_COLOR_SIDE = 64
_OTHER_HUE = 0.08

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Brightness:
    """One image as ink is looked for in it."""

    values: Array
    """(H, W) in [0, 1], at most 512 pixels a side: larger images are reduced to the means of squares"""
    colorfulness: float
    """the share of the area whose hue is another than the most common: 0 for gray, little for a colored pen"""


def read_brightness(image: "NDArray[np.generic] | Image") -> Brightness:
    """The brightness of one image.

    Args:
        image: (H, W), (1, H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or floating in [0, 1], or a PIL image; 1 to
            8192 pixels a side. What is transparent has the brightness that contrasts with a mostly transparent image, else
            its mean.

    Returns:
        The brightness.

    Raises:
        ValueError: image has another shape, type, size or value (NaN, infinite, out of range), or is damaged.
    """
    if not isinstance(image, np.ndarray):
        return _of_picture(image)
    colors = image.ndim == 3 and image.shape[2] in (3, 4) and image.shape[0] != 1
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[0] == 1) or colors):
        raise ValueError(f"image: expected (H, W), (1, H, W), (H, W, 3) or (H, W, 4), got {image.shape}")
    _check_size("image", *(image.shape[:2] if colors else image.shape[-2:]))
    return _of_array(image if colors else image.reshape(image.shape[-2:]))


def read_gray_images(images: NDArray[np.generic]) -> Array:
    """The brightness of several images in one array.

    Args:
        images: (I, 1, H, W), bool, uint8, uint16 or floating in [0, 1].

    Returns:
        (I, H', W') in [0, 1], at most 512 pixels a side.

    Raises:
        ValueError: as `read_brightness`, for images.
    """
    check_gray_images(images)
    return _reduced(_to_float("images", images[:, 0]))


def check_gray_images(images: NDArray[np.generic]) -> None:
    """Check the shape of several images in one array.

    Args:
        images: (I, 1, H, W).

    Raises:
        ValueError: they have another shape or size.
    """
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"images: expected (I, 1, H, W), got {images.shape}")
    _check_size("images", *images.shape[2:])


def _of_array(pixels: NDArray[np.generic]) -> Brightness:
    values = _to_float("image", pixels)
    if values.ndim == 2:
        return Brightness(_reduced(values[None])[0], 0.0)
    gray: Array = np.clip(values[..., :3] @ _LUMINANCE, 0, 1)
    if values.shape[2] == 4:
        gray = _over_background(gray, values[..., 3])
    rows, columns = (np.arange(n) * side // n for side in gray.shape for n in [min(_COLOR_SIDE, side)])
    return Brightness(_reduced(gray[None])[0], _colorfulness(values[rows][:, columns]))


def _of_picture(image: "Image") -> Brightness:
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise ValueError(f"image: expected an array or a PIL image, got {type(image).__name__}")
    _check_size("image", image.height, image.width)
    try:
        whole = upright(image)
        if "A" in whole.getbands():
            return _of_array(np.asarray(whole.convert("RGBA")))
        few = whole.resize((min(_COLOR_SIDE, whole.width), min(_COLOR_SIDE, whole.height)), Image.Resampling.NEAREST)
        colorfulness = _of_array(np.asarray(few.convert("RGB"))).colorfulness
        return Brightness(_of_array(np.asarray(_smaller(whole.convert("L")))).values, colorfulness)
    except (ValueError, MemoryError) as error:
        raise ValueError(f"image: {error}") from error


def _colorfulness(colors: Array) -> float:
    """Of (h, w, 3 or 4)."""
    red, green, blue = (colors[..., channel] for channel in range(3))
    visible = colors[..., 3] > 0.5 if colors.shape[2] == 4 else np.ones(red.shape, bool)
    if not visible.any():
        return 0.0
    differences = np.stack([(red - green)[visible], ((red + green) / 2 - blue)[visible]])
    departure = np.hypot(*(differences - np.median(differences, axis=1, keepdims=True)))
    return float((departure > _OTHER_HUE).sum() / visible.size)


def _over_background(gray: Array, alpha: Array) -> Array:
    """What lies behind a mostly transparent picture contrasts with it; a mostly opaque one goes on in its own brightness."""
    visible = float(alpha.mean())
    mean = float((gray * alpha).mean()) / max(visible, 1e-6)
    behind = mean if visible > 0.5 else float(mean < 0.5)
    return np.clip(behind + alpha * (gray - behind), 0, 1).astype(np.float32)


def _smaller(gray: "Image") -> "Image":
    """A large picture as the means of squares."""
    return gray.reduce(times) if (times := _times(gray.height, gray.width)) > 1 else gray


def _reduced(gray: Array) -> Array:
    """Large images (B, H, W) as the means of squares."""
    _, height, width = gray.shape
    times = _times(height, width)
    if times == 1:
        return gray
    padded = np.pad(gray, ((0, 0), (0, -height % times), (0, -width % times)), mode="edge")
    squares = padded.reshape(len(gray), padded.shape[1] // times, times, padded.shape[2] // times, times)
    return np.asarray(squares.mean((2, 4), dtype=np.float32))


def _times(height: int, width: int) -> int:
    return -(-max(height, width) // WORKING_SIDE)


def _check_size(name: str, height: int, width: int) -> None:
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"{name}: expected 1 to {MAX_SIDE} pixels a side, got {height} x {width}")


def _to_float(name: str, values: NDArray[np.generic]) -> Array:
    """Brightness in [0, 1] of bool, uint8, uint16 and floating values."""
    if values.dtype == bool:
        return values.astype(np.float32)
    if values.dtype in (np.uint8, np.uint16):
        return np.asarray(values.astype(np.float32) * np.float32(1 / (2 ** (8 * values.itemsize) - 1)), np.float32)
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"{name}: expected bool, uint8, uint16 or floating in [0, 1], got {values.dtype}")
    if values.size:
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            raise ValueError(f"{name}: expected floating values in [0, 1], got {low:g} to {high:g}")
    return values.astype(np.float32)
