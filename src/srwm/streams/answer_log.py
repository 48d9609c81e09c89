"""The answers of several learners along one stream, in little memory."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from srwm.streams.prequential import Answer, Label, PrequentialResult

_NOTHING = -1


class AnswerLog:
    """Labels, and each learner's predictions, 4 bytes each: a number for each label, -1 for none.

    Args:
        learners: names of the learners.
    """

    def __init__(self, learners: Iterable[str]) -> None:
        self._labels = array("i")
        self._predictions = {name: array("i") for name in learners}
        self._seconds = dict.fromkeys(self._predictions, 0.0)
        self._numbers: dict[Label | None, int] = {None: _NOTHING}

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def learners(self) -> list[str]:
        """Names of the learners whose answers are kept."""
        return list(self._predictions)

    def add(self, label: Label | None, given: dict[str, Answer]) -> None:
        """Add the answers to one sample.

        Args:
            label: the true label; None: unknown.
            given: the answer of each learner.
        """
        self._labels.append(self._number(label))
        for name, predictions in self._predictions.items():
            predictions.append(self._number(given[name].prediction))
            self._seconds[name] += given[name].seconds if label is not None else 0.0

    def drop(self, learner: str) -> None:
        """Remove the answers of a learner.

        Args:
            learner: its name.
        """
        del self._predictions[learner], self._seconds[learner]

    def result(self, learner: str) -> PrequentialResult:
        """The result of a learner. Labels and predictions are numbers in it, -1 where there was no answer.

        Args:
            learner: its name.

        Returns:
            The result; samples without a label are left out.
        """
        labels, predictions = (np.array(each, np.int32) for each in (self._labels, self._predictions[learner]))
        scored = labels != _NOTHING
        labels, predictions = labels[scored], predictions[scored]
        seconds = self._seconds[learner] / max(len(labels), 1)
        return PrequentialResult(labels.tolist(), predictions.tolist(), labels == predictions, seconds)

    def rows(self) -> Iterator[tuple[Label | None, list[Label | None]]]:
        """The label of each sample, None where it is unknown, and the predictions of all learners, None where there is none."""
        known = {number: label for label, number in self._numbers.items()}
        for number, *predictions in zip(self._labels, *self._predictions.values(), strict=True):
            yield known[number], [known[prediction] for prediction in predictions]

    def _number(self, label: Label | None) -> int:
        return self._numbers.setdefault(label, len(self._numbers) - 1)
