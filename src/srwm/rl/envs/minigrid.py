"""MiniGrid's symbols: what an agent sees of its surroundings, one-hot."""

import warnings
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.mission import MissionSpace
from numpy.typing import NDArray

from srwm.rl.envs.spaces import Observations


def symbols_of(space: spaces.Dict, name: str) -> Observations:
    """The `image` (H, W, 3) of objects, colors and states as a float32 vector, one-hot: (H, W, their numbers), flattened.

    The mission, a text, is not seen; a warning says so where episodes differ in it.
    """
    image, mission = cast(spaces.Box, space["image"]), space["mission"]
    if isinstance(mission, MissionSpace) and mission.ordered_placeholders:
        warnings.warn(f"{name}: its episodes differ in their mission, a text that agents are not shown", stacklevel=2)
    sizes = [len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)]
    values = np.concatenate([np.arange(size) for size in sizes])
    channel = np.repeat(np.arange(3), sizes)

    def encode(seen: Any) -> NDArray[np.float32]:
        one_hot: NDArray[np.bool_] = seen["image"][..., channel] == values
        return one_hot.astype(np.float32).ravel()

    return Observations((image.shape[0] * image.shape[1] * len(values),), "float32", encode)
