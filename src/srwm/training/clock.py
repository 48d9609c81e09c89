"""How long a run has taken."""

import time
from typing import Protocol


class Times(Protocol):
    """Wall and CPU time of a run so far, over all of its sessions."""

    seconds: float
    cpu_seconds: float


class Clock:
    """Counts on from the times of a run; `update` brings them up to date.

    Processor time is that of this process, all of its threads added up: with one thread it does not depend on what else the
    machine does.
    """

    def __init__(self, times: Times) -> None:
        self._times = times
        self._wall = time.monotonic() - times.seconds
        self._cpu = time.process_time() - times.cpu_seconds

    def update(self) -> None:
        """Set the times to what they are now."""
        self._times.seconds = time.monotonic() - self._wall
        self._times.cpu_seconds = time.process_time() - self._cpu
