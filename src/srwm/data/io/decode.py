"""Image files and Pillow images as arrays: checked before they are decoded, decoded in parallel, the same for every caller."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from srwm.data.io.regular import open_regular
from srwm.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
MAX_PIXELS = 2**26
MAX_SIDE = 2**16
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_DEEP_GRAY = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_GRAY = ("1", "L", "LA", *_DEEP_GRAY)
_COLOR = ("P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_STRAIGHT = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
_AT_ONCE = 1024

T = TypeVar("T")


class ImageError(ValueError):
    """An image is not accepted. Callers put the name of the file or the argument before the message."""


def read_images(paths: Sequence[str], image_shape: tuple[int, int, int], what: str) -> Iterator[NDArray[np.uint8]]:
    """Decode files on all cores, in order, with a progress bar.

    Args:
        paths: the files.
        image_shape: (C, H, W) of every array, C = 1 or 3.
        what: the label of the progress bar.

    Returns:
        Blocks of images (n, C, H, W) uint8.

    Raises:
        UserError: for the first file that `read_image` refuses.
    """
    from tqdm import tqdm

    bar = tqdm(total=len(paths), desc=what, unit=" images", disable=None, leave=False)
    with ThreadPoolExecutor(_cores()) as pool, bar:
        for start in range(0, len(paths), _AT_ONCE):
            block = np.stack(list(pool.map(lambda path: read_image(path, image_shape), paths[start : start + _AT_ONCE])))
            bar.update(len(block))
            yield block


def read_image(path: str, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One image file as `picture_to_array` decodes it.

    Args:
        path: a regular file in one of the formats JPEG, PNG, BMP, GIF, WebP, TIFF, PPM; of several frames the first counts.
        image_shape: (C, H, W) of the array, C = 1 or 3.

    Returns:
        (C, H, W) uint8.

    Raises:
        UserError: it is no such file, is damaged, or is refused by `picture_to_array`.
    """
    return _of_file(path, lambda image: picture_to_array(image, image_shape))


def read_picture(path: str) -> "PillowImage":
    """One image file as a Pillow image.

    Args:
        path: a file as for `read_image`.

    Returns:
        The image as `upright` makes it, with its pixels in memory.

    Raises:
        UserError: it is no such file, is damaged, or is refused by `upright`.
    """
    return _of_file(path, lambda image: upright(image).copy())


def read_gray(path: str, most: int) -> NDArray[np.uint8]:
    """One image file at its own size.

    Args:
        path: a file as for `read_image`.
        most: the greatest number of pixels a side.

    Returns:
        (H, W) uint8, gray, on white where transparent.

    Raises:
        UserError: as `read_image`, or a side is longer.
    """

    def gray(image: "PillowImage") -> NDArray[np.uint8]:
        if max(image.size) > most:
            raise ImageError(f"expected 1 to {most} pixels a side, got {image.width} x {image.height}")
        return np.asarray(_opaque(image).convert("L"))

    return _of_file(path, gray)


def all_gray(paths: Sequence[str]) -> bool:
    """Whether all image files are grayscale, by their headers; so are those with a palette of grays.

    Args:
        paths: the files.

    Returns:
        True if they are.

    Raises:
        UserError: as `read_image`, except for damaged pixels.
    """

    def is_gray(path: str) -> bool:
        return _of_file(path, lambda image: image.mode in _GRAY or (image.mode == "P" and _is_gray_palette(image)))

    with ThreadPoolExecutor(_cores()) as pool:
        return all(pool.map(is_gray, paths))


def picture_to_array(picture: "PillowImage", image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Convert a Pillow image to an array, as for data sets of image folders.

    It is made upright (`upright`), put on white where it is transparent, converted to gray or RGB, and resized by antialiased
    Lanczos, whatever the ratio of its sides.

    Args:
        picture: the image, of any mode that `upright` takes.
        image_shape: (C, H, W) of the array; C = 1 for gray, 3 for RGB.

    Returns:
        (C, H, W) uint8.

    Raises:
        ImageError: `upright` refuses the picture, or its colors cannot be converted.
        ValueError: image_shape has another number of channels.
    """
    if len(image_shape) != 3 or image_shape[0] not in (1, 3) or min(image_shape) < 1:
        raise ValueError(f"image_shape: expected (1 or 3, H, W), got {image_shape}")
    opaque = _opaque(picture)
    try:
        return fitted(opaque, image_shape)
    except (ValueError, MemoryError) as error:
        raise ImageError(_damage(error)) from error


def upright(picture: "PillowImage") -> "PillowImage":
    """A Pillow image of 8 bits a channel, rotated as its EXIF tag says, its transparency as a channel.

    Deep gray is scaled from the smallest of 0 ... 1 (`F` alone), 0 ... 255 and 0 ... 65535 that holds all pixels.

    Args:
        picture: the image, of any mode that Pillow documents; at most 2**26 pixels, 2**16 a side.

    Returns:
        An image of mode 1, L, LA, P, RGB, RGBA, RGBX, CMYK, YCbCr, LAB or HSV.

    Raises:
        ImageError: the picture is too large, damaged, closed, of another mode, or its deep pixels have other values.
    """
    from PIL import ImageOps

    _check_header(picture)
    try:
        turned = ImageOps.exif_transpose(picture)
    except Exception as error:  # decoders of foreign formats raise anything
        raise ImageError(_damage(error)) from error
    if turned.mode in _DEEP_GRAY:
        return _scaled(turned)
    if "transparency" in turned.info:
        return turned.convert("RGBA")
    return turned.convert(_STRAIGHT[turned.mode]) if turned.mode in _STRAIGHT else turned


def fitted(picture: "PillowImage", image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Convert an opaque image to gray or RGB, and resize it by antialiased Lanczos.

    Args:
        picture: the image.
        image_shape: (C, H, W), C = 1 or 3.

    Returns:
        (C, H, W) uint8.
    """
    from PIL import Image

    channels, height, width = image_shape
    pixels = picture.convert("L" if channels == 1 else "RGB")
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height), Image.Resampling.LANCZOS)
    array = np.asarray(pixels)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _of_file(path: str, result: Callable[["PillowImage"], T]) -> T:
    """What `result` makes of the image in a file; every failure is a UserError that names the file."""
    from PIL import Image

    Image.init()
    try:
        with open_regular(path) as file, Image.open(file, formats=_FORMATS) as image:
            _check_header(image)
            return result(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path}: refused, more than {MAX_PIXELS} pixels") from error
    except ImageError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # decoders of foreign formats raise anything
        raise UserError(f"{path}: {_damage(error)}") from error


def _check_header(picture: "PillowImage") -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"refused, {width} x {height} are more than {MAX_PIXELS} pixels")
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ImageError(f"refused, {width} x {height}: expected 1 to {MAX_SIDE} pixels a side")
    if picture.mode not in (*_GRAY, *_COLOR, *_STRAIGHT):
        raise ImageError(f"{picture.mode} pixels; convert the image to 8 bits a channel")


def _opaque(picture: "PillowImage") -> "PillowImage":
    """The image upright, and composed on white."""
    from PIL import Image

    turned = upright(picture)
    if "A" not in turned.getbands():
        return turned
    layer = turned.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def _scaled(picture: "PillowImage") -> "PillowImage":
    from PIL import Image

    values = np.asarray(picture).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    ranges = (1, 255, 65535) if picture.mode == "F" else (255, 65535)
    most = next((end for end in ranges if low >= 0 and high <= end), None)
    if most is None:
        raise ImageError(f"{picture.mode} pixels from {low:g} to {high:g}; convert the image to 8 bits a channel")
    gray = Image.fromarray(np.rint(values * (255 / most)).astype(np.uint8))
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        gray.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return gray


def _is_gray_palette(picture: "PillowImage") -> bool:
    colors = np.reshape(picture.getpalette() or [], (-1, 3))
    return bool((colors == colors[:, :1]).all())


def _damage(error: Exception) -> str:
    return f"not a readable image ({str(error) or type(error).__name__})"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
