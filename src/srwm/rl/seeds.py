"""The seeds of everything random in a run, from the one that its user gives."""

import numpy as np

_EVALUATION = 0


def process_seed(seed: int, rank: int) -> int:
    """The seed of one of the processes that train: `seed` in the first, in each other one that nothing else has."""
    return _derived(seed, rank) if rank else seed


def evaluation_seed(seed: int) -> int:
    """The seed of what is played with a trained agent: no training has it, whatever its seed."""
    return _derived(seed, _EVALUATION)


def _derived(seed: int, use: int) -> int:
    """One of 2^63 and above, where no seed that can be given is."""
    return 2**63 | int(np.random.SeedSequence(seed, spawn_key=(use,)).generate_state(1, np.uint64)[0])
