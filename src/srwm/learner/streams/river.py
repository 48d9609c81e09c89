"""The conventions of River for a classifier. River is not required, and is never imported here.

River recognizes a classifier by `isinstance`. `register` makes `StreamClassifier` a virtual subclass of
`river.base.Classifier` once River has been imported; the members that River expects of a subclass are in `RiverClassifier`.
"""

import sys
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, ClassVar, Self

from srwm.learner.estimator import Classifier


class RiverClassifier(Classifier):
    """What River's functions use of a classifier beside `learn_one`, `predict_one` and `predict_proba_one`."""

    _supervised: ClassVar[bool] = True
    _multiclass: ClassVar[bool] = True
    _is_stochastic: ClassVar[bool] = False
    _mutable_attributes: ClassVar[frozenset[str]] = frozenset()

    def clone(self, new_params: dict[str, Any] | None = None, include_attributes: bool = False) -> Self:
        """A classifier with the same arguments, which has learned nothing.

        Args:
            new_params: Arguments that differ, by name.
            include_attributes: Whether what was learned is copied too.

        Returns:
            The new classifier.
        """
        made = type(self)(**deepcopy(self.get_params() | (new_params or {})))
        if include_attributes:
            made.__dict__.update({name: value for name, value in vars(self).items() if name not in made.__dict__})
        return made

    def mutate(self, new_attrs: dict[str, Any]) -> None:
        """Change attributes that can change while it learns; there are none.

        Args:
            new_attrs: New values by name.

        Raises:
            ValueError: Any name is given.
        """
        for name in new_attrs:
            raise ValueError(f"{name!r} is not a mutable attribute of {type(self).__name__}")

    @property
    def _tags(self) -> set[str]:
        return set()

    @property
    def _raw_memory_usage(self) -> int:
        usage: int = sys.modules["river.base"].Base._raw_memory_usage.fget(self)
        return usage

    @property
    def _memory_usage(self) -> str:
        usage: str = sys.modules["river.base"].Base._memory_usage.fget(self)
        return usage

    def _get_params(self) -> dict[str, Any]:
        return self.get_params()

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}

    def _unit_test_skips(self) -> set[str]:
        return set()


def register(classifier: type[RiverClassifier]) -> None:
    """Make a class a virtual subclass of `river.base.Classifier`, if River has been imported.

    Args:
        classifier: The class.
    """
    base = sys.modules.get("river.base")
    if base is not None:
        base.Classifier.register(classifier)
