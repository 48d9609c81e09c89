"""Self-referential weight matrices for PyTorch: operations, layers, and training code for few-shot learning and RL.

Subpackages are imported on first use, so that the command line can configure its process before PyTorch is imported.
"""

from importlib import import_module as _import_module

TYPE_CHECKING = False  # type checkers take it for True; importing it would delay the handler of Ctrl-C
if TYPE_CHECKING:
    from typing import Any as _Any

    from srwm.learner import FewShotLearner, StreamClassifier, load_model, push_model, save_model

__version__ = "0.1.0"
_OF_LEARNER = ("FewShotLearner", "StreamClassifier", "load_model", "push_model", "save_model")
_PACKAGES = (
    *(
        "data",
        "fewshot",
        "interop",
        "learner",
        "nn",
        "ops",
        "playground",
        "rl",
        "samples",
        "sequences",
        "streams",
        "training",
        "vision",
    ),
)
__all__ = [
    "FewShotLearner",
    "StreamClassifier",
    "data",
    "fewshot",
    "interop",
    "learner",
    "load_model",
    "nn",
    "ops",
    "playground",
    "push_model",
    "rl",
    "samples",
    "save_model",
    "sequences",
    "streams",
    "training",
    "vision",
]


def __getattr__(name: str) -> "_Any":
    if name in _OF_LEARNER:
        return getattr(_import_module("srwm.learner"), name)
    if name in _PACKAGES:
        return _import_module(f"srwm.{name}")
    raise AttributeError(f"module 'srwm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
