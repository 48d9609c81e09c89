"""Named streams of labeled samples for evaluation: River's generators, bundled data sets of River and of scikit-learn."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from srwm.errors import UserError
from srwm.streams.extra import import_optional
from srwm.streams.prequential import Label, Row

MOST_SAMPLES = 5_000
"""Samples of the longest streams."""
_DRIFTS = (500, 1_500, 2_500, 3_500)
"""Where a new concept begins: one drift in the first 1,000 samples, four in all."""
_FEWEST_FLARES = 1


@dataclass(frozen=True)
class LabeledStream:
    """A stream of T labeled samples."""

    name: str
    """its name in `STREAMS`"""
    seed: int
    """what it was drawn or shuffled with"""
    rows: Sequence[Row]
    """the features of each sample"""
    labels: Sequence[Label]
    """the label of each sample"""
    drifts: tuple[int, ...] = ()
    """positions of the first samples of new concepts, for abrupt drifts; a gradual drift has no position"""


_Samples = Iterable[tuple[dict[Any, Any], Any]]
_Drawn = tuple[_Samples, tuple[int, ...]]


def load_stream(name: str, seed: int) -> LabeledStream:
    """Draw or read a stream.

    Args:
        name: one of `STREAMS`.
        seed: seed of the generators and of the order of concepts; of the shuffle for a data set, whose samples have no order.

    Returns:
        The stream, of at most 5,000 samples.

    Raises:
        ValueError: no stream has this name.
        UserError: River or scikit-learn is not installed, or the installed River does not bundle the data set.
    """
    if name not in STREAMS:
        raise ValueError(f"name: expected one of {', '.join(STREAMS)}, got {name!r}")
    samples, drifts = STREAMS[name](seed)
    drawn = list(islice(samples, MOST_SAMPLES))
    rows = [{str(key): value for key, value in row.items()} for row, _ in drawn]
    return LabeledStream(name, seed, rows, [label for _, label in drawn], drifts)


def _synth(name: str, **options: Any) -> Any:
    return getattr(import_optional("river.datasets.synth"), name)(**options)


def _steady(name: str, options: Callable[[int], dict[str, Any]]) -> Callable[[int], _Drawn]:
    """One generator from start to end."""
    return lambda seed: (_synth(name, **options(seed)), ())


def _concepts(name: str, option: str, values: Sequence[Any], **shared: Any) -> Callable[[int], _Drawn]:
    """A generator with abrupt drifts: its concept is the value of one option, and the seed draws the order of the values."""

    def draw(seed: int) -> _Drawn:
        order = random.Random(seed).sample(values, len(values))
        ends = [*_DRIFTS, MOST_SAMPLES]
        parts = []
        for part, (start, end) in enumerate(zip([0, *_DRIFTS], ends, strict=True)):
            generator = _synth(name, **{option: order[part % len(order)], "seed": 1_000 * seed + part}, **shared)
            parts.append(generator.take(end - start))
        return (sample for part in parts for sample in part), _DRIFTS

    return draw


def _shuffled(samples: _Samples, seed: int) -> list[tuple[dict[Any, Any], Any]]:
    kept = list(samples)
    random.Random(seed).shuffle(kept)
    return kept


def _of_river(name: str, label: Callable[[Any], Label] = lambda label: label) -> Callable[[int], _Drawn]:
    """A data set that comes with River, shuffled."""

    def read(seed: int) -> _Drawn:
        bundled = import_optional("river.datasets")
        if not hasattr(bundled, name):
            raise UserError(f"the installed version of River has no data set {name}; install a newer one")
        return _shuffled(((row, label(value)) for row, value in getattr(bundled, name)()), seed), ()

    return read


def _of_sklearn(name: str, label: Callable[[Any, float], Label] = lambda bunch, value: int(value)) -> Callable[[int], _Drawn]:
    """A data set that comes with scikit-learn, shuffled; `label` gets the whole set as well."""

    def read(seed: int) -> _Drawn:
        bunch = getattr(import_optional("sklearn.datasets"), name)()
        rows = (dict(zip(bunch.feature_names, values, strict=True)) for values in bunch.data.tolist())
        labels = [label(bunch, value) for value in bunch.target.tolist()]
        return _shuffled(zip(rows, labels, strict=True), seed), ()

    return read


def _above_median(bunch: Any, value: float) -> bool:
    ordered: list[float] = sorted(bunch.target.tolist())
    return value > ordered[len(ordered) // 2]


def _rbf(seed: int) -> dict[str, Any]:
    return {"seed_model": seed, "seed_sample": seed, "n_classes": 4, "n_features": 8, "n_centroids": 20}


TEST_STREAMS: dict[str, Callable[[int], _Drawn]] = {
    "sea": _concepts("SEA", "variant", (0, 1, 2, 3), noise=0.1),
    "sine": _concepts("Sine", "classification_function", (0, 1, 2, 3)),
    "mixed": _concepts("Mixed", "classification_function", (0, 1)),
    "stagger": _concepts("STAGGER", "classification_function", (0, 1, 2)),
    "agrawal": _concepts("Agrawal", "classification_function", tuple(range(7))),
    "led-drift": _concepts("LEDDrift", "n_drift_features", (0, 3, 5, 7), noise_percentage=0.1, irrelevant_features=True),
    "led": _steady("LED", lambda seed: {"seed": seed, "noise_percentage": 0.1, "irrelevant_features": True}),
    "hyperplane": _steady("Hyperplane", lambda seed: {"seed": seed, "n_drift_features": 5, "mag_change": 0.01}),
    "random-rbf": _steady("RandomRBF", _rbf),
    "random-rbf-drift": _steady("RandomRBFDrift", lambda seed: _rbf(seed) | {"n_drift_centroids": 20, "change_speed": 0.01}),
    "random-tree": _steady("RandomTree", lambda seed: {"seed_tree": seed, "seed_sample": seed, "n_classes": 3}),
    "phishing": _of_river("Phishing"),
    "bananas": _of_river("Bananas"),
    "image-segments": _of_river("ImageSegments"),
    "shuttle": _of_river("Shuttle"),
    "iris": _of_sklearn("load_iris"),
    "wine": _of_sklearn("load_wine"),
    "breast-cancer": _of_sklearn("load_breast_cancer"),
    "digits": _of_sklearn("load_digits"),
}
"""Streams of the tables of results, by name. Nothing is chosen by them."""
VALIDATION_STREAMS: dict[str, Callable[[int], _Drawn]] = {
    "diabetes": _of_sklearn("load_diabetes", _above_median),
    "solar-flare": _of_river("SolarFlare", lambda flares: flares["c-class-flares"] >= _FEWEST_FLARES),
}
"""Real streams that may choose between models: progression above its median, and any flare of class C. Not in the tables."""
STREAMS = TEST_STREAMS | VALIDATION_STREAMS
"""All of them."""
