"""The state of a stream classifier: what its model, its encoder and its classes have learned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from srwm.learner.classes import Classes
from srwm.learner.labels import Labels, positions, read_labels
from srwm.learner.streams.encoder import Encoded, Encoder
from srwm.learner.streams.rows import Rows, Sample, read_rows
from srwm.learner.streams.steps import ComputedState, Steps
from srwm.learner.tables import check_column_names
from srwm.streams.model import StreamModel, StreamState

_PIECE = 512
"""Samples that go through the model at once, which bounds memory."""
_SHOWN = 4
"""Names that an error lists."""


@dataclass(frozen=True, eq=False)
class LearnedStream:
    """A model and its state after labeled samples. It is immutable: learning returns a new one."""

    steps: Steps
    encoder: Encoder
    classes: Classes
    state: ComputedState
    """state of the model, of one stream"""
    count: int = 0
    """number of labeled samples learned"""
    columns: int | None = None
    """number of columns, where samples were rows of tables"""
    feature_names: tuple[str, ...] | None = None
    """names of the columns, where samples were rows of data frames"""

    @classmethod
    def fresh(cls, model: StreamModel) -> Self:
        """The state before the first sample.

        Args:
            model: The model.

        Returns:
            The state.
        """
        return cls._begun(Steps(model))

    @classmethod
    def _begun(cls, steps: Steps) -> Self:
        config = steps.model.config
        classes = Classes(config.num_classes, "class slots")
        return cls(steps, Encoder(config.num_features), classes, steps.model.initial_state(1))

    @property
    def model(self) -> StreamModel:
        """The model, in evaluation mode."""
        return self.steps.model

    @property
    def model_state(self) -> StreamState:
        """The state of the model, of one stream."""
        return self.steps.model_state(self.state)

    def forgotten(self) -> Self:
        """The same model without learned samples."""
        return self._begun(self.steps)

    def declaring(self, classes: object) -> Self:
        """The state with all labels declared.

        Args:
            classes: All labels that will ever occur.

        Returns:
            The new state.

        Raises:
            ValueError: They are more than the model's classes, or differ from those declared or learned before.
        """
        return replace(self, classes=self.classes.declaring(classes))

    def after_one(self, x: Sample, y: object) -> Self:
        """The state after one labeled sample.

        Args:
            x: The features by name.
            y: The label.

        Returns:
            The new state.

        Raises:
            ValueError: A number is not finite in float32, the label is not valid, or there are too many classes.
            TypeError: A value is neither a number nor hashable.
        """
        _check_mapping(x)
        classes, slot = self.classes, self._slot(y)
        if slot is None:
            given = read_labels([y], "y")
            classes = classes.joined(given)
            slot = int(positions(given, _known(classes))[0])
        encoder, encoded = self.encoder.learned([x])
        state = self.steps.show(encoded, [slot], self.state)
        return replace(self, encoder=encoder, classes=classes, state=state, count=self.count + 1)

    def after(self, X: object, y: object) -> Self:
        """The state after labeled samples, in their order.

        Args:
            X: Samples, as `read_rows` takes them.
            y: One label for each.

        Returns:
            The new state.

        Raises:
            ValueError: Samples or labels do not fit, or there are too many classes.
            TypeError: A value is neither a number nor hashable.
        """
        rows, given = self._rows(X), _labels(y)
        if len(given) != len(rows):
            raise ValueError(f"labels: expected one per sample, {len(rows)}, got {len(given)}")
        if not len(given):
            raise ValueError("X: expected one sample or more, got none: 0 sample(s)")
        classes = self.classes.joined(given)
        slots = positions(given, _known(classes)).tolist()
        encoder, state = self.encoder, self.state
        for start in range(0, len(rows), _PIECE):
            encoder, encoded = _learned(encoder, rows.piece(start, start + _PIECE))
            state = self.steps.show(encoded, slots[start : start + _PIECE], state)
        return replace(
            self,
            encoder=encoder,
            classes=classes,
            state=state,
            count=self.count + len(given),
            columns=self.columns or rows.columns,
            feature_names=rows.names if self.columns is None else self.feature_names,
        )

    def probabilities_one(self, x: Sample) -> dict[Any, float]:
        """The probability of each label that was shown.

        Args:
            x: The features by name.

        Returns:
            Probabilities by label, in the order of the sorted labels; empty before the first label.

        Raises:
            ValueError: A number is not finite in float32.
            TypeError: A value is neither a number nor hashable.
        """
        _check_mapping(x)
        indices = self.classes.indices
        if not indices:
            return {}
        logits = self.steps.ask(self.encoder.encoded([x]), self.state)[0].tolist()
        highest = max(logits)
        found = {label: exp(logits[slot] - highest) for label, slot in indices.items()}
        total = sum(found.values())
        _check_finite(total)
        return {label: value / total for label, value in found.items()}

    def probabilities(self, X: object) -> NDArray[np.float64]:
        """The probability of each class for each sample.

        Args:
            X: Samples, as `read_rows` takes them.

        Returns:
            (n, classes) in the order of the sorted classes; exactly 0 for one that was not shown.

        Raises:
            ValueError: Samples do not fit.
            TypeError: A value is neither a number nor hashable.
        """
        rows, known = self._rows(X), _known(self.classes)
        if rows.columns is not None:
            _check_known(rows, self.encoder)
        out = np.zeros((len(rows), len(self.classes.sorted)))
        for start in range(0, len(rows), _PIECE):
            piece = rows.piece(start, start + _PIECE)
            found = self._asked(_encoded(self.encoder, piece))
            out[start : start + _PIECE, positions(known, self.classes.sorted)] = found
        return out

    def _slot(self, y: object) -> int | None:
        try:
            return self.classes.indices.get(y)
        except TypeError:
            return None

    def _rows(self, X: object) -> Rows:
        rows = read_rows(X, self.columns, self.feature_names)
        if self.columns is not None and rows.columns is not None:
            check_column_names(self.feature_names, rows.names, "StreamClassifier")
        return rows

    def _asked(self, samples: Encoded) -> NDArray[np.float64]:
        """Probabilities (Q, labels shown), by class slot."""
        logits = self.steps.ask(samples, self.state)[:, : len(self.classes.indices)].astype(np.float64)
        found: NDArray[np.float64] = np.exp(logits - logits.max(1, keepdims=True))
        total = found.sum(1, keepdims=True)
        _check_finite(total.sum())
        found /= total
        return found


def _learned(encoder: Encoder, rows: Rows) -> tuple[Encoder, Encoded]:
    return encoder.learned(rows.samples) if rows.numbers is None else encoder.learned_table(rows.tokens, rows.numbers)


def _encoded(encoder: Encoder, rows: Rows) -> Encoded:
    return encoder.encoded(rows.samples) if rows.numbers is None else encoder.encoded_table(rows.tokens, rows.numbers)


def _known(classes: Classes) -> Labels:
    assert classes.labels is not None
    return classes.labels


def _check_known(rows: Rows, encoder: Encoder) -> None:
    """Check that answers to a table can depend on it: that something was learned of one of its columns."""
    known = encoder.numbers.keys() | encoder.values.keys()
    if known and known.isdisjoint(rows.tokens):
        features, columns = (_shown(names) for names in (sorted(known), rows.tokens))
        raise ValueError(f"X: expected features that were learned, such as {features}, got columns {columns}")


def _shown(tokens: list[str]) -> str:
    names = [token.removeprefix("\0number:") for token in tokens if not token.startswith("\0") or "number:" in token]
    return ", ".join(map(repr, names[:_SHOWN])) or "names of other types"


def _labels(y: object) -> Labels:
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    return read_labels(y)


def _check_finite(total: float) -> None:
    if not isfinite(total):
        raise ValueError("x: expected numbers for which the model's logits are finite, got too large ones")


def _check_mapping(x: object) -> None:
    if not isinstance(x, Mapping):
        raise TypeError(f"x: expected a dict of features by name, got {type(x).__name__}; partial_fit takes tables")
