"""Resizing of data sets to the image shape of a model."""

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from srwm.data.images import ImageClasses, Split
from srwm.data.io.cache import Decoded, cached_classes
from srwm.data.io.decode import fitted
from srwm.errors import UserError

_AT_ONCE = 4096


def resized(splits: dict[Split, ImageClasses], image_shape: tuple[int, ...]) -> dict[Split, ImageClasses]:
    """The splits with every image resized by antialiased Lanczos; gray becomes three equal channels.

    Images that have the shape already are unchanged. Others are computed once and then mapped from the cache.

    Args:
        splits: the data set.
        image_shape: (C, H, W), C = 1 or 3.

    Returns:
        The same classes with images (I, C, H, W) uint8.

    Raises:
        UserError: the images cannot have this shape.
    """
    return {split: _resized(data, image_shape) for split, data in splits.items()}


def resize_image(image: NDArray[np.uint8], image_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """One image resized as image files are.

    Args:
        image: (C, H, W), C = 1 or 3.
        image_shape: the new shape, C = 1 or 3.

    Returns:
        The image, of this shape.
    """
    from PIL import Image

    return fitted(Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)), image_shape)


def _resized(data: ImageClasses, image_shape: tuple[int, ...]) -> ImageClasses:
    if data.image_shape == tuple(image_shape):
        return data
    if len(image_shape) != 3 or image_shape[0] not in (1, 3) or data.image_shape[0] not in (1, 3) or min(image_shape) < 1:
        raise UserError(f"model.image_shape: {data.name} has {data.image_shape}, which cannot become {tuple(image_shape)}")
    channels, *size = image_shape
    stored = (min(channels, data.image_shape[0]), *size)
    images = data.images if data.image_shape == stored else _cached(data, stored).images
    if stored[0] != channels:
        item, _, row, column = images.strides
        images = np.lib.stride_tricks.as_strided(images, (len(images), *image_shape), (item, 0, row, column))
    return dataclasses.replace(data, images=images)


def _cached(data: ImageClasses, image_shape: tuple[int, ...]) -> ImageClasses:
    digest = hashlib.blake2b(f"1: Lanczos {image_shape} {data.class_names}".encode(), digest_size=8)
    for start in range(0, len(data.images), _AT_ONCE):
        digest.update(np.ascontiguousarray(data.images[start : start + _AT_ONCE]).data)

    def compute() -> Decoded:
        return dict(zip(data.class_names, data.counts.tolist(), strict=True)), _blocks(data, image_shape)

    return cached_classes("resized", digest.hexdigest(), compute)


def _blocks(data: ImageClasses, image_shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    from tqdm import tqdm

    with tqdm(total=len(data.images), desc=f"resizing {data.name}", unit=" images", disable=None, leave=False) as bar:
        for start in range(0, len(data.images), _AT_ONCE):
            block = data.images[start : start + _AT_ONCE]
            yield np.stack([resize_image(image, image_shape) for image in block])
            bar.update(len(block))
