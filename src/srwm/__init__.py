"""Self-referential weight matrices for PyTorch: operations, layers, and the laboratories built on them.

Subpackages are imported when they are first used, so that the program can settle its process before PyTorch starts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srwm.learner.few_shot_learner import FewShotLearner

__version__ = "0.1.0"
__all__ = ["FewShotLearner", "data", "fewshot", "interop", "learner", "nn", "ops", "rl", "training", "vision"]


def __getattr__(name: str) -> Any:
    if name == "FewShotLearner":
        return import_module("srwm.learner.few_shot_learner").FewShotLearner
    if name in __all__:
        return import_module(f"srwm.{name}")
    raise AttributeError(f"module 'srwm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
