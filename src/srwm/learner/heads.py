"""What answers in a learner: class means, the memory, or both."""

import sys

from torch import Tensor

from srwm.fewshot.models.config import HeadName
from srwm.fewshot.models.residual import ResidualModel
from srwm.fewshot.models.sequence import FewShotModel
from srwm.learner.unknown import ClassExamples
from srwm.nn import State

HEADS: tuple[HeadName, ...] = ("prototypes", "memory", "residual")


def chosen_head(model: FewShotModel, head: object) -> HeadName:
    """The head of a name, or the best of a model.

    Args:
        model: The model.
        head: The name of a head, or "auto".

    Returns:
        The head; for "auto" `prototypes` where the model has it, else `memory`.

    Raises:
        ValueError: There is no such head, or the model lacks it.
    """
    able: tuple[HeadName, ...] = HEADS if isinstance(model, ResidualModel) else ("memory",)
    if head == "auto":
        return able[0]
    for each in able:
        if head == each:
            return each
    of_model = "" if len(able) > 1 else " (the model has no others)"
    raise ValueError(f"head: expected auto or {' or '.join(able)}{of_model}, got {head!r}")


def most_classes(model: FewShotModel, head: HeadName) -> int:
    """How many classes a head can tell apart: any number for class means.

    Args:
        model: The model.
        head: The head.

    Returns:
        The number.
    """
    return sys.maxsize if head == "prototypes" else model.config.n_way


def remember(model: FewShotModel, head: HeadName, features: Tensor, labels: Tensor, state: State | None) -> State | None:
    """The state of the memory after labeled features.

    Args:
        model: The model.
        head: The head.
        features: (R, T, F).
        labels: (R, T) int64.
        state: The state before.

    Returns:
        The state; None with a head without memory.
    """
    return None if head == "prototypes" else model.learn_memory(features, labels, state)


def head_logits(
    model: FewShotModel, head: HeadName, features: Tensor, state: State | None, examples: ClassExamples | None
) -> Tensor:
    """Logits of features.

    Args:
        model: The model.
        head: The head; all but `memory` need a `ResidualModel`.
        features: (R, Q, F).
        state: The state of the memory.
        examples: The examples of the classes; not needed for `memory`.

    Returns:
        (R, Q, N) for N classes with `prototypes`, else for as many as the model has ways.
    """
    if head == "memory":
        return model.query_memory(features, state)
    assert isinstance(model, ResidualModel)
    assert examples is not None
    means = model.class_means
    logits = means.logits(means.encode(features), means.map(examples.sums), examples.counts.expand(len(features), -1))
    if head == "prototypes":
        return logits
    return model.joined(logits, model.query_memory(features, state)[..., : logits.shape[-1]])
