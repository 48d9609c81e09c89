"""Conversion of images from users to the input of a model."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srwm.data.drawings.ink import InkReport, read_ink, read_ink_images
from srwm.data.io.decode import picture_to_array, read_picture
from srwm.data.resize import resize_image
from srwm.errors import UserError
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.models.metadata import Preprocess
from srwm.learner.image_files import named_files
from srwm.learner.tables import tensor_to_array

Array = NDArray[Any]


class ImageInput(NamedTuple):
    """Images as a model reads them."""

    pixels: Tensor
    """(n, *image_shape), float32 on the CPU"""
    columns: int | None = None
    """number of columns, if the images came as rows of a table"""
    reports: tuple[InkReport, ...] | None = None
    """what was seen on each, if the preprocessing is `ink`"""


def read_images(images: object, config: ModelConfig, preprocess: Preprocess, columns: int | None = None) -> ImageInput:
    """Convert images to the input of a model.

    Args:
        images: An array, a tensor or anything that numpy can convert, (n, F) rows with F = C * H * W, (H, W), (n, H, W) or (n,
            C, H, W), or a PIL image, or a list of images of any sizes; bool, uint8, or floating in [0, 1]. `ink` also accepts
            color images: (H, W, 3 or 4), n of them, or n (3 or 4, H, W) in one array or in a list. Without it images of
            another size are resized in the same way as image files in training. A model without a stem accepts any finite
            numbers: (n, F), (n, *image_shape), or one (*image_shape). Integers of other types than uint8 must be in 0 to 255,
            except uint16, which is scaled from 65535 if it has greater ones. Paths of image files, as
            `srwm.learner.image_files.named_files` takes them, stand for PIL images.
        config: The model's configuration.
        preprocess: Preprocessing of each image.
        columns: Number of columns of earlier tables, or None. A table of another width is an error then; otherwise it would be
            read as an image (H, W).

    Returns:
        The images.

    Raises:
        ValueError: Images have another shape, type or values, or the model cannot read ink.
        UserError: A file is missing, damaged or refused.
    """
    files = named_files(images)
    if files is not None:
        read = [_of_file(file, config, preprocess) for file in files]
        reports = tuple(report for each in read for report in each.reports or ())
        return ImageInput(torch.cat([each.pixels for each in read]), None, reports if preprocess == "ink" else None)
    pixels = images if _is_picture(images) else _listed(images)
    rows = None
    if isinstance(pixels, np.ndarray):
        if pixels.shape == (0,):
            pixels = pixels.reshape(0, *config.image_shape)
        elif pixels.ndim == 2 and pixels.shape[1] == int(np.prod(config.image_shape)):
            rows = pixels.shape[1]
            pixels = pixels.reshape(-1, *config.image_shape)
        elif pixels.ndim == 2 and columns is not None:
            raise ValueError(f"X has {pixels.shape[1]} features, but FewShotLearner is expecting {columns} features as input")
        elif config.stem == "none" and pixels.shape == config.image_shape:
            pixels = pixels[None]
    if config.stem != "none":
        pixels = _of_bytes(pixels) if isinstance(pixels, np.ndarray | list) else pixels
    if preprocess == "ink":
        made, seen = _ink(pixels, config)
        return ImageInput(made, rows, tuple(seen))
    return ImageInput(_numbers(pixels, config) if config.stem == "none" else _pixels(pixels, config), rows)


def _of_file(file: str, config: ModelConfig, preprocess: Preprocess) -> ImageInput:
    """One image file; files are decoded one by one, since photographs are large."""
    try:
        return read_images(read_picture(file), config, preprocess)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error


def _of_bytes(pixels: Any) -> Any:
    """Integers in 0 ... 255 of any type as uint8, also in a list; everything else is unchanged, as is uint16 beyond 255."""
    if isinstance(pixels, list):
        return [_of_bytes(part) for part in pixels]
    if not isinstance(pixels, np.ndarray) or pixels.dtype.kind not in "iu" or pixels.dtype == np.uint8 or not pixels.size:
        return pixels
    low, high = int(pixels.min()), int(pixels.max())
    if pixels.dtype == np.uint16 and high > 255:
        return pixels
    if low < 0 or high > 255:
        raise ValueError(f"images: expected integers from 0 to 255, got {pixels.dtype} from {low} to {high}")
    if high == 1:
        raise ValueError(f"images: expected integers from 0 to 255, got {pixels.dtype} of 0 and 1 alone; pass them as bool")
    return pixels.astype(np.uint8)


def _listed(images: object) -> Array | list[object]:
    """One array, or the images one by one where they do not make one."""
    if isinstance(images, Sequence) and any(map(_is_image, images)):
        parts = [image if _is_picture(image) else _array(image) for image in images]
        shapes = {part.shape if isinstance(part, np.ndarray) else None for part in parts}
        if len(shapes) == 1 and None not in shapes:
            return np.stack([part for part in parts if isinstance(part, np.ndarray)])
        return parts
    array = _array(images)
    return _listed(list(array)) if array.dtype == object and array.ndim == 1 and len(array) else array


def _array(images: object) -> Array:
    if isinstance(images, Tensor):
        if images.is_floating_point() and images.dtype.itemsize < 2:
            wanted = "uint8, bool, or floating numbers of 16 bits or more"
            raise ValueError(f"images: expected {wanted}, got {str(images.dtype).removeprefix('torch.')}")
        return tensor_to_array(images, "images", floats=True)
    try:
        array = np.asarray(images)
    except Exception as error:  # what other libraries' arrays raise when they are converted
        raise ValueError(f"images: expected an array or a list of images, got {type(images).__name__} ({error})") from error
    if array.dtype == object and array.size and not any(map(_is_image, array.flat)):
        raise ValueError(f"images: expected an array or a list of images, got {type(array.flat[0]).__name__}")
    return array


def _is_image(image: object) -> bool:
    return _is_picture(image) or hasattr(image, "__array__")


def _is_picture(image: object) -> bool:
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(image, pil.Image)


def _ink(pixels: Any, config: ModelConfig) -> tuple[Tensor, list[InkReport]]:
    if config.image_shape != (1, 28, 28):
        raise ValueError(f"preprocess: ink makes images (1, 28, 28), and the model reads {config.image_shape}")
    if isinstance(pixels, np.ndarray):
        color = pixels.ndim >= 3 and pixels.shape[-1] in (3, 4)
        if pixels.ndim == 2 or (pixels.ndim == 3 and color):
            pixels = [pixels]
        elif pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[1] == 1):
            made, reports = read_ink_images(pixels.reshape(len(pixels), 1, *pixels.shape[-2:]))
            return torch.from_numpy(made).float() / 255, reports
        elif pixels.ndim != 4 or not (color or pixels.shape[1] in (3, 4)):
            wanted = "(H, W), (n, H, W), (n, 1, 3 or 4, H, W) or (n, H, W, 3 or 4)"
            raise ValueError(f"images: expected {wanted}, got {pixels.shape}")
    elif _is_picture(pixels):
        pixels = [pixels]
    found = [read_ink(image if _is_picture(image) else _color_last(image)) for image in pixels]
    made = np.stack([image for image, _ in found])
    return torch.from_numpy(made)[:, None].float() / 255, [report for _, report in found]


def _color_last(image: Array) -> Array:
    """Move channels last: (3 or 4, H, W) -> (H, W, 3 or 4); other shapes are unchanged."""
    first = image.ndim == 3 and image.shape[0] in (3, 4) and image.shape[2] not in (3, 4)
    return image.transpose(1, 2, 0) if first else image


def _numbers(values: object, config: ModelConfig) -> Tensor:
    if not isinstance(values, np.ndarray) or values.shape[1:] != config.image_shape:
        got = values.shape if isinstance(values, np.ndarray) else "images of different sizes"
        raise ValueError(f"images: expected (n, {int(np.prod(config.image_shape))}) or (n, *{config.image_shape}), got {got}")
    with np.errstate(over="ignore"):
        made = values.astype(np.float32) if values.dtype.kind in "biuf" else None
    if made is None or not np.isfinite(made).all():
        raise ValueError(f"images: expected numbers that are finite in float32, got {_describe(values)}")
    return torch.from_numpy(made)


def _pixels(pixels: Any, config: ModelConfig) -> Tensor:
    channels, height, width = config.image_shape
    if isinstance(pixels, np.ndarray):
        return _resized(_in_unit_range(_with_channels(pixels, channels, one=False)), height, width)
    given = [pixels] if _is_picture(pixels) else pixels
    parts = [_picture(image, (channels, height, width)) if _is_picture(image) else image for image in given]
    whole = [_in_unit_range(_with_channels(part, channels, one=True)) for part in parts]
    return torch.cat([_resized(part, height, width) for part in whole])


def _picture(image: Any, image_shape: tuple[int, int, int]) -> Array:
    """A Pillow image as an array, decoded as image files are in training."""
    try:
        return picture_to_array(image, image_shape)
    except ValueError as error:
        raise ValueError(f"images: {error}") from error


def _with_channels(pixels: Array, channels: int, one: bool) -> Array:
    """(n, C, H, W), where the array is one image (H, W) or (C, H, W), or with `one` unset also n of them."""
    if pixels.ndim == 2 and channels == 1:
        return pixels[None, None]
    if pixels.ndim == 3 and pixels.shape[0] == channels and (one or channels > 1):
        return pixels[None]
    if pixels.ndim == 3 and channels == 1 and not one:
        return pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[1] == channels and not one:
        return pixels
    wanted = "(H, W), (n, H, W) or (n, 1, H, W)" if channels == 1 else f"({channels}, H, W) or (n, {channels}, H, W)"
    raise ValueError(f"images: expected {wanted}, got {pixels.shape}")


def _in_unit_range(pixels: Array) -> Tensor:
    if pixels.dtype in (np.bool_, np.uint8, np.uint16):
        most = 1 if pixels.dtype == np.bool_ else np.iinfo(pixels.dtype).max
        return torch.from_numpy(pixels.astype(np.float32)) / most
    if pixels.dtype.kind != "f" or not np.isfinite(pixels).all() or (pixels.size and (pixels.min() < 0 or pixels.max() > 1)):
        raise ValueError(f"images: expected uint8, bool, or floating from 0 to 1, got {_describe(pixels)}")
    return torch.from_numpy(pixels.astype(np.float32))


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[2:] == (height, width):
        return images
    if min(images.shape[2:]) < 1:
        raise ValueError(f"images: expected one pixel a side or more, got {tuple(images.shape[2:])}")
    if not len(images):
        return images.new_empty(0, images.shape[1], height, width)
    shape = (images.shape[1], height, width)
    resized = np.stack([resize_image(image, shape) for image in (255 * images).round().byte().numpy()])
    return torch.from_numpy(resized).float() / 255


def _describe(values: Array) -> str:
    if values.dtype.kind not in "biuf" or not values.size:
        return str(values.dtype)
    return f"{values.dtype} from {values.min():g} to {values.max():g}"
