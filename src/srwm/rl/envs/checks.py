"""Checks at the door of every environment."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from srwm.errors import UserError
from srwm.rl.envs.interface import EnvSpec


def checked_actions(actions: NDArray[np.int64] | Sequence[int], num_envs: int, num_actions: int) -> NDArray[np.int64]:
    """The actions as (num_envs,) int64; ValueError where shape, type or range is another."""
    array = np.asarray(actions)
    if array.shape != (num_envs,) or array.dtype.kind not in "iu":
        raise ValueError(f"actions: expected ({num_envs},) integers, got {array.shape} {array.dtype}")
    if ((array < 0) | (array >= num_actions)).any():
        raise ValueError(f"actions: expected 0 ... {num_actions - 1}, got {array.min()} ... {array.max()}")
    return array.astype(np.int64, copy=False)


def common_spec(specs: Sequence[tuple[str, EnvSpec]]) -> EnvSpec:
    """The EnvSpec that all the named ones share; UserError where two differ."""
    first_name, first = specs[0]
    for name, spec in specs:
        if spec != first:
            raise UserError(f"{first_name} and {name} cannot be learned together: {first} and {spec}")
    return first
