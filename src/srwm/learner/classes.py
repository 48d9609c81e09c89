"""The classes of a classifier that learns: which label has which index, and which labels were declared."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from srwm.learner.labels import Labels, join_labels, read_labels


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes so far. It is immutable: new labels give a new one."""

    limit: int
    """most classes"""
    unit: str
    """what the model has `limit` of, for messages"""
    labels: Labels | None = None
    """the label of each label index in use, in order of appearance"""
    declared: Labels | None = None
    """all labels that will ever occur, sorted, if they were declared"""

    @cached_property
    def sorted(self) -> Labels:
        """The declared labels, else the learned ones, sorted."""
        known = self.labels if self.declared is None else self.declared
        return np.unique(np.empty(0) if known is None else known)

    @cached_property
    def indices(self) -> dict[Any, int]:
        """The index of each learned label, by label, in the order of the sorted labels."""
        given = [] if self.labels is None else self.labels.tolist()
        return {given[i]: i for i in ([] if self.labels is None else np.argsort(self.labels).tolist())}

    def declaring(self, classes: object) -> Self:
        """The classes with all labels declared.

        Args:
            classes: All labels that will ever occur.

        Returns:
            The new classes.

        Raises:
            ValueError: They are more than `limit`, or differ from those declared or learned before.
        """
        declared = np.unique(read_labels(classes, "classes"))
        self._check(len(declared))
        before = self.labels if self.declared is None else self.declared
        if before is not None:
            same = len(join_labels(declared, before)) == len(declared)
            if not same or (self.declared is not None and len(before) != len(declared)):
                raise ValueError(f"classes: expected {np.unique(before).tolist()}, as before, got {declared.tolist()}")
        return replace(self, declared=declared)

    def joined(self, given: Labels) -> Self:
        """The classes with those of new labels.

        Args:
            given: Labels (n,).

        Returns:
            The new classes.

        Raises:
            ValueError: There are more than `limit`, or some were not declared, or are of another kind than those before.
        """
        if self.declared is not None and len(both := join_labels(self.declared, given)) > len(self.declared):
            surplus = both[len(self.declared) :].tolist()
            raise ValueError(f"labels: expected those declared, {self.declared.tolist()}, got {surplus}")
        known = join_labels(self.labels, given)
        self._check(len(known))
        same = self.labels is not None and len(known) == len(self.labels) and known.dtype == self.labels.dtype
        return self if same else replace(self, labels=known)

    def _check(self, count: int) -> None:
        if count > self.limit:
            raise ValueError(
                f"labels: expected {self.limit} classes or fewer, as many as the model has {self.unit}, got {count}"
            )
