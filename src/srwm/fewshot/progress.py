"""How far a run has come, and being asked to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Progress:
    """The part of a run's state that is numbers: it is saved with every checkpoint."""

    step: int = 0
    seconds: float = 0.0
    """wall time of training so far, over all of its sessions"""
    best: float = -1.0
    """best validation accuracy so far"""
    loss_sum: float = 0.0
    accuracy_sum: float = 0.0
    count: int = 0
    """steps in the two sums"""

    def add(self, loss: float, accuracy: float) -> None:
        """Count one step's loss and accuracy in."""
        self.loss_sum += loss
        self.accuracy_sum += accuracy
        self.count += 1

    def take_means(self) -> dict[str, float]:
        """Mean loss and accuracy since the last call."""
        means = {"train_loss": self.loss_sum / self.count, "train_accuracy": self.accuracy_sum / self.count}
        self.loss_sum, self.accuracy_sum, self.count = 0.0, 0.0, 0
        return means


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; a second one acts as usual. Outside the main thread it is never set."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request(number: int, frame: FrameType | None) -> None:
        event.set()
        restore()

    for number in before:
        signal.signal(number, request)
    try:
        yield event
    finally:
        restore()
