"""Prequential evaluation: an online learner is asked for the label of each sample, then shown it."""

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = dict[str, Any]
"""The features of a sample by name: numbers and strings. A missing value has no entry."""
Label: TypeAlias = Hashable


class OnlineClassifier(Protocol):
    """A classifier that learns from one sample at a time, as River's do."""

    def predict_one(self, x: Row, /) -> Label | None:
        """The predicted label of a sample, or None where the classifier has no answer yet."""
        ...

    def learn_one(self, x: Row, y: Any, /) -> object:
        """Learn from a labeled sample."""
        ...


class Answer(NamedTuple):
    """The answer to one sample, given before its label was shown."""

    label: Label | None
    """the true label; None: unknown, so nothing was learned"""
    prediction: Label | None
    """the predicted label; None: no answer"""
    seconds: float
    """CPU time to predict and to learn"""


@dataclass(frozen=True)
class PrequentialResult:
    """What a learner answered along a stream of T labeled samples. No answer counts as a wrong one."""

    labels: Sequence[Label]
    """the true labels, T of them"""
    predictions: Sequence[Label | None]
    """the predicted labels, T of them"""
    correct: NDArray[np.bool_]
    """(T,): whether each prediction was right"""
    seconds_per_sample: float
    """mean CPU time to predict and to learn"""

    def accuracy(self, first: int | None = None) -> float:
        """The share of right answers, 0 to 1.

        Args:
            first: over so many samples from the start, or all if there are fewer; None: over all.

        Returns:
            The share; NaN over no samples.

        Raises:
            ValueError: `first` is below 1.
        """
        correct = self.correct[: _checked(first, "first")]
        return float(correct.mean()) if len(correct) else float("nan")

    def kappa(self, first: int | None = None) -> float:
        """Cohen's kappa: 1 for right answers alone, 0 for answers as good as drawing from the learner's own label frequencies.

        Args:
            first: over so many samples from the start, or all if there are fewer; None: over all.

        Returns:
            The coefficient, 0 where all labels and predictions are one class; NaN over no samples.

        Raises:
            ValueError: `first` is below 1.
        """
        end = _checked(first, "first")
        labels, predictions = Counter(self.labels[:end]), Counter(self.predictions[:end])
        count = labels.total()
        if count == 0:
            return float("nan")
        by_chance = sum(labels[label] * predictions[label] for label in labels) / count**2
        return 0.0 if by_chance == 1 else (self.accuracy(first) - by_chance) / (1 - by_chance)

    def rolling_accuracy(self, window: int) -> NDArray[np.float64]:
        """The accuracy over the last samples at each sample.

        Args:
            window: so many samples, or those from the start if there are fewer.

        Returns:
            (T,), 0 to 1.

        Raises:
            ValueError: `window` is below 1.
        """
        _checked(window, "window")
        sums = np.concatenate([[0], np.cumsum(self.correct)])
        ends = np.arange(1, len(self.correct) + 1)
        starts = np.maximum(ends - window, 0)
        rolling: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
        return rolling


def answers(learner: OnlineClassifier, samples: Iterable[tuple[Row, Label | None]]) -> Iterator[Answer]:
    """Ask a learner for the label of each sample, then show it.

    Args:
        learner: the learner; it keeps what it learns.
        samples: features and label of each; where the label is None, the learner is only asked.

    Yields:
        Its answer to each sample, after the label was shown.
    """
    for row, label in samples:
        began = time.process_time()
        prediction = learner.predict_one(row)
        if label is not None:
            learner.learn_one(row, label)
        yield Answer(label, prediction, time.process_time() - began)


def prequential(learner: OnlineClassifier, samples: Iterable[tuple[Row, Label]]) -> PrequentialResult:
    """Run a learner along a stream.

    Args:
        learner: the learner; it keeps what it learns.
        samples: features and label of each sample.

    Returns:
        What it answered.
    """
    return result_of(answers(learner, samples))


def result_of(given: Iterable[Answer]) -> PrequentialResult:
    """The result of the answers along a stream.

    Args:
        given: the answers, in order; those to samples without a label are left out.

    Returns:
        The result.
    """
    scored = [answer for answer in given if answer.label is not None]
    correct = np.array([answer.prediction is not None and answer.prediction == answer.label for answer in scored], dtype=bool)
    seconds = sum(answer.seconds for answer in scored) / max(len(scored), 1)
    return PrequentialResult([answer.label for answer in scored], [answer.prediction for answer in scored], correct, seconds)


def _checked(count: int | None, name: str) -> int | None:
    if count is not None and count < 1:
        raise ValueError(f"{name}: expected 1 or more, got {count}")
    return count
