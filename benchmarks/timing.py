"""Competitors timed in turn, so that the machine's drift hits all of them alike."""

import gc
import json
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

ROUNDS = 5
ROUNDS_OF_SLOW = 3
"""For calls of a second and more."""
TOLERANCE = 1e-3


class Competitor(Protocol):
    """Something that gives results and can be timed."""

    def results(self) -> tuple[Tensor, ...]: ...

    def seconds(self, repeats: int) -> list[float]: ...


@dataclass(frozen=True)
class Spread:
    """Seconds of one call: median, quartiles, and of how many calls."""

    median: float
    low: float
    high: float
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> Self:
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, len(seconds))

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class Local:
    """A function in this process."""

    def __init__(self, call: Callable[[], tuple[Tensor, ...]]):
        self.results = call

    def seconds(self, repeats: int) -> list[float]:
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            self.results()
            taken.append(time.perf_counter() - start)
        return taken


class Jax:
    """jax_scan.py in another interpreter, one computation at a time."""

    def __init__(self, python: Path, threads: int):
        command = [str(python), str(Path(__file__).with_name("jax_scan.py")), str(threads)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._results: tuple[Tensor, ...] = ()
        self.version = ""

    def load(self, mode: str, x: Tensor, weight: Tensor, cotangent: Tensor) -> Self:
        """Compile `mode` for these arrays and run it once."""
        with tempfile.TemporaryDirectory() as folder:
            inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
            np.savez(inputs, x=x.numpy(), weight=weight.numpy(), cotangent=cotangent.numpy())
            self.version = self._ask({"load": str(inputs), "mode": mode, "save": str(outputs)})["jax"]
            with np.load(outputs) as arrays:
                self._results = tuple(torch.from_numpy(arrays[f"arr_{i}"]) for i in range(len(arrays.files)))
        return self

    def results(self) -> tuple[Tensor, ...]:
        return self._results

    def seconds(self, repeats: int) -> list[float]:
        return self._ask({"repeat": repeats})["seconds"]

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, request: dict) -> dict:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"jax_scan.py ended with code {self._process.wait()}; its error stands above")
        return json.loads(answer)


def race(competitors: dict[str, Competitor], seconds: float) -> dict[str, Spread]:
    """Time each for at least `seconds`, a few calls at a time in turn, after holding its results against the first one's.

    Raises:
        ValueError: the results of a competitor differ from those of the first.
    """
    (first, *_) = competitors
    expected = competitors[first].results()
    for name, competitor in competitors.items():
        _check_agreement(name, competitor.results(), expected)
    plans = {name: _plan(competitor, seconds / ROUNDS) for name, competitor in competitors.items()}
    taken: dict[str, list[float]] = {name: [] for name in competitors}
    gc.collect()
    gc.disable()
    try:
        for turn in range(ROUNDS):
            for name, (rounds, repeats) in plans.items():
                if turn < rounds:
                    taken[name] += competitors[name].seconds(repeats)
    finally:
        gc.enable()
    return {name: Spread.of(times) for name, times in taken.items()}


def _plan(competitor: Competitor, seconds: float) -> tuple[int, int]:
    """Rounds, and calls in each, that fill `seconds` a round."""
    (once,) = competitor.seconds(1)
    if once < seconds:
        once = min(competitor.seconds(2))
    return ROUNDS_OF_SLOW if once >= 1 else ROUNDS, max(1, math.ceil(seconds / once))


def _check_agreement(name: str, results: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for i, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        error = ((result - wanted).norm() / wanted.norm()).item()
        if not error <= TOLERANCE:
            raise ValueError(f"{name}: expected result {i} within {TOLERANCE} of native's, got a relative error of {error:.1e}")
