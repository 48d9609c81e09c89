"""Whether Triton is there, which sizes its kernels take, and with how many warps. Imports nothing heavy."""

import importlib.util

import torch

AVAILABLE = importlib.util.find_spec("triton") is not None
"""Whether Triton is installed."""

LARGEST_TILE = 12_544
"""Floats of W, padded, that a program holds in registers several times over: E = D = 64."""

LARGEST_KEY = 256
"""Rows of the state of fast weights that a program holds, beside up to 32 columns."""

_WARPS = ((832, 1), (1_600, 2), (3_200, 4), (LARGEST_TILE, 8))
"""Warps by the size of the tile: the fewest with which no register spills, by the compiler's count."""


def padded(size: int) -> int:
    """The smallest power of two that is not below a size.

    Args:
        size: the size, 1 or more.

    Returns:
        The power of two.
    """
    return 1 << (size - 1).bit_length()


def tile(e: int, d: int) -> int:
    """Floats that a padded self-referential matrix of one head takes.

    Args:
        e: width E of a head's input.
        d: width D of a head's output.

    Returns:
        The number of floats.
    """
    return padded(e) * (padded(d) + 2 * padded(e) + 4)


def warps(floats: int) -> int:
    """Warps of a program that holds a tile of so many floats.

    Args:
        floats: the size of the tile, up to `LARGEST_TILE`.

    Returns:
        The number of warps.
    """
    return _of_device(next(count for largest, count in _WARPS if floats <= largest))


def fits(operator: str, e: int, d: int) -> bool:
    """Whether the kernels of an operator take matrices of these widths.

    Args:
        operator: the operator's name, without `srwm::`.
        e: width E of a head's input.
        d: width D of a head's output.

    Returns:
        True if a program can hold them in registers.
    """
    return tile(e, d) <= LARGEST_TILE if operator.startswith("self_referential") else e <= LARGEST_KEY


def block_of_columns(d: int) -> int:
    """Columns of the state of fast weights that one program holds.

    Args:
        d: width D of a head's output.

    Returns:
        A power of two, up to 32.
    """
    return min(padded(d), 32)


def warps_of_block(e: int, d: int) -> int:
    """Warps of a program of the fast weights.

    Args:
        e: width E of a head's input, up to `LARGEST_KEY`.
        d: width D of a head's output.

    Returns:
        The number of warps: one to 1,024 floats of the state.
    """
    return _of_device(max(padded(e) * block_of_columns(d) // 1_024, 1))


def _of_device(count: int) -> int:
    """The warps of AMD's data center GPUs are twice as wide, so half as many serve there."""
    return max(count // 2, 1) if torch.version.hip else count
