"""The random seeds of a run, derived from the user's seed."""

import numpy as np

_EVALUATION = 0


def process_seed(seed: int, rank: int) -> int:
    """The seed of a training process.

    Args:
        seed: the user's seed.
        rank: rank of the process.

    Returns:
        `seed` at rank 0, and a different seed at every other rank.
    """
    return _derived(seed, rank) if rank else seed


def evaluation_seed(seed: int) -> int:
    """The seed of evaluations and recordings, which training never uses, whatever its seed.

    Args:
        seed: the seed that the user gives.

    Returns:
        The seed of the generators.
    """
    return _derived(seed, _EVALUATION)


def _derived(seed: int, use: int) -> int:
    """A seed of 2^63 or more; users' seeds are below."""
    return 2**63 | int(np.random.SeedSequence(seed, spawn_key=(use,)).generate_state(1, np.uint64)[0])
