"""Spaces of gymnasium as an agent reads and writes them: observations as arrays, actions by number."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

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
    """The conversion of the observations of a space.

    uint8 images (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 channels become (C, H, W) uint8. All other observations become one
    float32 vector, in which discrete parts are one-hot. Of a Dict with an `image`, only the image is used.

    Args:
        space: the observation space.
        name: the task, for messages.

    Returns:
        Shape, dtype and conversion.

    Raises:
        UserError: the space has no fixed size.
    """
    if isinstance(space, spaces.Dict) and "image" in space.spaces:
        inner = observations_of(space["image"], name)
        return Observations(inner.shape, inner.dtype, lambda seen: inner.encode(seen["image"]))
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        image = _image(space)
        if image is not None:
            return image
    if not space.is_np_flattenable:
        raise UserError(f"{name}: observations of {space} have no fixed size")

    def flatten(seen: Any) -> NDArray[np.float32]:
        _check_observation(space, seen)
        return np.asarray(spaces.flatten(space, seen), dtype=np.float32)

    return Observations((spaces.flatdim(space),), "float32", flatten)


def actions_of(space: spaces.Space[Any], name: str) -> Actions:
    """The conversion of action numbers to actions of a space: Discrete, or MultiDiscrete by the number of the combination.

    Args:
        space: the action space.
        name: the task, for messages.

    Returns:
        Number of actions and conversion.

    Raises:
        UserError: it is another kind of space.
    """
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


def _image(space: spaces.Box) -> Observations | None:
    shape = space.shape
    if len(shape) == 2:
        return Observations((1, *shape), "uint8", lambda seen: _checked_image(space, seen)[None])
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return Observations((shape[2], *shape[:2]), "uint8", lambda seen: np.moveaxis(_checked_image(space, seen), 2, 0))
    if len(shape) == 3 and shape[0] in _CHANNELS:
        return Observations(shape, "uint8", lambda seen: _checked_image(space, seen))
    return None


def _checked_image(space: spaces.Box, seen: Any) -> NDArray[np.uint8]:
    """The image as uint8. Raises ValueError for another shape, or numbers that are no uint8."""
    _check_observation(space, seen)
    given = np.asarray(seen)
    with np.errstate(invalid="ignore"):
        image = given.astype(np.uint8, copy=False)
    if image is not given and (image != given).any():
        raise ValueError(f"observation: expected uint8 numbers, got {given.dtype} from {given.min()} to {given.max()}")
    return image


def _check_observation(space: spaces.Space[Any], seen: Any) -> None:
    """Raise ValueError if an observation does not have the shape of its space, or real numbers in its range."""
    if isinstance(space, spaces.Dict):
        for name, part in space.spaces.items():
            _check_observation(part, seen[name])
    elif isinstance(space, spaces.Tuple):
        for part, own in zip(space.spaces, seen, strict=True):
            _check_observation(part, own)
    elif isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        found = np.asarray(seen)
        if found.shape != space.shape or found.dtype.kind not in "biuf":
            raise ValueError(f"observation: expected {space.shape} {space.dtype}, got {found.shape} {found.dtype}")
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            count = space.n if isinstance(space, spaces.Discrete) else space.nvec
            if found.dtype.kind == "f" or ((found < space.start) | (found >= space.start + count)).any():
                raise ValueError(f"observation: expected one of {space}, got {seen}")


def symbols_of(space: spaces.Dict, name: str) -> Observations:
    """The conversion of MiniGrid observations.

    The `image` (H, W, 3) of objects, colors and states becomes a float32 vector: one-hot (H, W, number of symbols), flattened.
    The mission, a text, is not part of it; a warning says so if episodes differ in their missions.

    Args:
        space: the observation space.
        name: the task, for messages.

    Returns:
        Shape, dtype and conversion.
    """
    from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
    from minigrid.core.mission import MissionSpace

    image, mission = cast(spaces.Box, space["image"]), space["mission"]
    if isinstance(mission, MissionSpace) and mission.ordered_placeholders:
        warnings.warn(f"{name}: its episodes differ in their mission, a text that agents are not shown", stacklevel=2)
    sizes = [len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)]
    values = np.concatenate([np.arange(size) for size in sizes])
    channel = np.repeat(np.arange(3), sizes)

    def encode(seen: Any) -> NDArray[np.float32]:
        one_hot: NDArray[np.bool_] = _checked_image(image, seen["image"])[..., channel] == values
        return one_hot.astype(np.float32).ravel()

    return Observations((image.shape[0] * image.shape[1] * len(values),), "float32", encode)
