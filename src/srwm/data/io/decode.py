"""Image files of users and of the web as arrays: checked before they are decoded, decoded in parallel."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
MAX_PIXELS = 2**26
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_GREY = ("1", "L", "LA")
_COLOR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_AT_ONCE = 1024


def read_images(paths: Sequence[str], image_shape: tuple[int, int, int], what: str) -> Iterator[NDArray[np.uint8]]:
    """Decode files on all cores, in order, in blocks (n, C, H, W); `what` names them beside the progress bar.

    Raises UserError that names the first file which `read_image` refuses.
    """
    from tqdm import tqdm

    bar = tqdm(total=len(paths), desc=what, unit=" images", disable=None, leave=False)
    with ThreadPoolExecutor(_cores()) as pool, bar:
        for start in range(0, len(paths), _AT_ONCE):
            block = np.stack(list(pool.map(lambda path: read_image(path, image_shape), paths[start : start + _AT_ONCE])))
            bar.update(len(block))
            yield block


def read_image(path: str, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One file as (C, H, W): rotated as its EXIF tag says, on white where transparent, gray (C = 1) or RGB (C = 3), resized.

    The size is brought to H x W by antialiased Lanczos, whatever the ratio of the sides.
    Raises UserError where it is no image of a known format, damaged, deeper than 8 bits or has over 2**26 pixels.
    """
    from PIL import Image, ImageOps

    channels, height, width = image_shape
    try:
        with _opened(path) as image:
            upright = ImageOps.exif_transpose(image)
        if "A" in upright.getbands() or "transparency" in upright.info:
            layer = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        pixels = upright.convert("L" if channels == 1 else "RGB")
        if pixels.size != (width, height):
            pixels = pixels.resize((width, height), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, ArithmeticError, LookupError, TypeError) as error:
        raise UserError(f"{path}: not a readable image ({error})") from error
    array = np.asarray(pixels)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def all_gray(paths: Sequence[str]) -> bool:
    """Whether every file holds a grayscale picture, by its header. Raises UserError as `read_image`, damaged pixels aside."""

    def is_gray(path: str) -> bool:
        try:
            with _opened(path) as image:
                return image.mode in _GREY
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise UserError(f"{path}: not a readable image ({error})") from error

    with ThreadPoolExecutor(_cores()) as pool:
        return all(pool.map(is_gray, paths))


def _opened(path: str) -> "PillowImage":
    from PIL import Image

    Image.init()
    try:
        image = Image.open(path, formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path}: refused, more than {MAX_PIXELS} pixels") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise UserError(f"{path}: refused, {width} x {height} are more than {MAX_PIXELS} pixels")
    if image.mode not in _GREY + _COLOR:
        image.close()
        raise UserError(f"{path}: {image.mode} pixels; convert the image to 8 bits a channel")
    return image


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
