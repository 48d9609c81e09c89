"""Milliseconds that a learner needs for one drawing, alone and beside busy processes.

    python benchmarks/latency.py

Each call is `predict` or `learn` of images of 28x28 pixels as a user has them, preprocessing included, with PyTorch's own
number of threads. Busy processes multiply matrices all the time with one thread each; neither they nor this one are bound to
a core. CPU time is that of all threads of this process.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

import machine
from srwm import FewShotLearner
from srwm.data.drawings.glyphs import GlyphDrawer
from srwm.ranges import AtLeast
from srwm.training.configuration import check_values
from timing import Spread

_WARM_UP = 10


@dataclass(frozen=True)
class Options:
    """Time a learner of characters."""

    model: str = "characters"
    """what `FewShotLearner` takes"""
    busy: tuple[Annotated[int, AtLeast(0)], ...] = (0, 1)
    """numbers of busy processes"""
    calls: Annotated[int, AtLeast(2)] = 300
    """calls of each kind"""


def main(options: Options) -> None:
    """Print a row for each number of busy processes."""
    check_values(options)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{machine.cpu_model()}, {cores} cores; milliseconds of wall-clock time, median (quartiles), and of CPU time")
    print("| busy processes | predict one image | learn one image | learn five images |")
    print("|---|---|---|---|")
    for busy in options.busy:
        stop = multiprocessing.Event()
        others = [multiprocessing.Process(target=_spin, args=(stop,), daemon=True) for _ in range(busy)]
        for other in others:
            other.start()
        try:
            print(f"| {busy} | " + " | ".join(_times(options)) + " |", flush=True)
        finally:
            stop.set()
            for other in others:
                other.join()


def _times(options: Options) -> list[str]:
    learner = FewShotLearner(options.model)
    drawings = _drawings()
    names = list(range(5))
    learner.learn(drawings[:5], names)
    return [
        _spread(lambda: learner.predict(drawings[5:6]), options.calls),
        _spread(lambda: learner.learn(drawings[:1], names[:1]), options.calls),
        _spread(lambda: learner.learn(drawings[:5], names), options.calls),
    ]


def _drawings() -> NDArray[np.uint8]:
    """Six drawings (6, 28, 28): dark on light paper, as from a scanner."""
    data = GlyphDrawer().draw("test", seed=0, instances=1)
    return np.ascontiguousarray(255 - data.images[:6, 0])


def _spread(call: Callable[[], object], calls: int) -> str:
    for _ in range(_WARM_UP):
        call()
    seconds, used = [], time.process_time()
    for _ in range(calls):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    mean = 1e3 * (time.process_time() - used) / calls
    found = Spread.of(seconds)
    return f"{1e3 * found.median:.1f} ({1e3 * found.low:.1f}, {1e3 * found.high:.1f}), CPU {mean:.1f}"


def _spin(stop: Event) -> None:
    torch.set_num_threads(1)
    matrix = torch.rand(400, 400)
    while not stop.is_set():
        matrix = (matrix @ matrix).softmax(1)


if __name__ == "__main__":
    main(tyro.cli(Options))
