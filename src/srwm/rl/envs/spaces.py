"""gymnasium's spaces as what an agent reads and writes: one array, one action number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from srwm.errors import UserError

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Observations:
    """Observations of a space as arrays of one shape and dtype."""

    shape: tuple[int, ...]
    dtype: Literal["uint8", "float32"]
    encode: Callable[[Any], NDArray[Any]]


@dataclass(frozen=True)
class Actions:
    """The actions of a space by number, 0 ... count - 1."""

    count: int
    decode: Callable[[int], Any]


def observations_of(space: spaces.Space[Any], name: str) -> Observations:
    """uint8 images (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 channels become (C, H, W) uint8.

    All else becomes one float32 vector: values as they are, discrete parts one-hot. A Dict with an `image` gives that alone.
    Raises UserError where the space has no fixed size.
    """
    if isinstance(space, spaces.Dict) and "image" in space.spaces:
        inner = observations_of(space["image"], name)
        return Observations(inner.shape, inner.dtype, lambda seen: inner.encode(seen["image"]))
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        image = _image(space.shape)
        if image is not None:
            return image
    if not space.is_np_flattenable:
        raise UserError(f"{name}: observations of {space} have no fixed size")
    size = spaces.flatdim(space)
    return Observations((size,), "float32", lambda seen: np.asarray(spaces.flatten(space, seen), dtype=np.float32))


def actions_of(space: spaces.Space[Any], name: str) -> Actions:
    """Discrete actions by number; those of a MultiDiscrete by the number of their combination. Raises UserError for others."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return Actions(int(space.n), lambda action: action + start)
    if isinstance(space, spaces.MultiDiscrete):
        choices, starts = space.nvec.ravel(), space.start.ravel()
        shape = space.nvec.shape
        return Actions(
            int(np.prod(choices)), lambda action: (np.array(np.unravel_index(action, choices)) + starts).reshape(shape)
        )
    raise UserError(f"{name}: actions must be discrete, got {space}")


def _image(shape: tuple[int, ...]) -> Observations | None:
    if len(shape) == 2:
        return Observations((1, *shape), "uint8", lambda seen: seen[None])
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return Observations((shape[2], *shape[:2]), "uint8", lambda seen: np.moveaxis(seen, 2, 0))
    if len(shape) == 3 and shape[0] in _CHANNELS:
        return Observations(shape, "uint8", lambda seen: seen)
    return None
