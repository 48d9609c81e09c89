"""MiniGrid's symbols: what an agent sees of its surroundings, one-hot."""

from typing import Any

import numpy as np
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from numpy.typing import NDArray

from srwm.rl.envs.spaces import Observations


def symbols_of(image: spaces.Box) -> Observations:
    """The `image` (H, W, 3) of objects, colours and states as a float32 vector, one-hot: (H, W, their numbers), flattened."""
    sizes = [len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)]
    values = np.concatenate([np.arange(size) for size in sizes])
    channel = np.repeat(np.arange(3), sizes)

    def encode(seen: Any) -> NDArray[np.float32]:
        one_hot: NDArray[np.bool_] = seen["image"][..., channel] == values
        return one_hot.astype(np.float32).ravel()

    return Observations((image.shape[0] * image.shape[1] * len(values),), "float32", encode)
