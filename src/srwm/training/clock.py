"""The wall-clock and CPU time of a run."""

import time
from typing import Protocol


class Times(Protocol):
    """Wall-clock and CPU time of a run so far, in seconds, over all of its sessions."""

    seconds: float
    cpu_seconds: float


class Clock:
    """Adds the time of this process to the times of a run, which may have been resumed.

    CPU time is summed over the threads of the process. With one thread it does not depend on other programs on the machine.

    Args:
        times: the times of the run so far.
    """

    def __init__(self, times: Times) -> None:
        self._times = times
        self._wall = time.monotonic() - times.seconds
        self._cpu = time.process_time() - times.cpu_seconds

    def update(self) -> None:
        """Bring the times up to date."""
        self._times.seconds = time.monotonic() - self._wall
        self._times.cpu_seconds = time.process_time() - self._cpu
