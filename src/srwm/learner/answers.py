"""What a few-shot learner says of images: a class, or that it does not know."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.images import read_images
from srwm.learner.seen import blank


@dataclass(frozen=True)
class Answer:
    """The answer to one image."""

    label: object | None
    """the most probable label; None: unknown"""
    probability: float
    """of that label, or of being unknown"""
    unknown: float
    """the probability that the image is of none of the classes"""
    probabilities: dict[object, float]
    """of each label, in the order of the learner's classes; their sum and `unknown` are 1"""
    reason: str = ""
    """why it is unknown"""


def answers(learner: FewShotLearner, images: object) -> list[Answer]:
    """The answer to each image.

    Args:
        learner: A learner that has learned.
        images: One or more images, as `FewShotLearner.predict` takes them.

    Returns:
        One answer for each.

    Raises:
        NotFittedError: Nothing was learned; scikit-learn's exception if it is installed.
        ValueError: Images do not fit.
        UserError: A file cannot be read.
    """
    labels = learner.classes_.tolist()
    shares, without = learner._learned().judged(images)
    return [_answer(labels, row, each) for row, each in zip(shares, without, strict=True)]


def without_ink(learner: FewShotLearner, images: object) -> NDArray[np.bool_]:
    """Which images a learner of ink sees as blank.

    Args:
        learner: A learner.
        images: One or more images.

    Returns:
        (n,); False throughout if the learner does not look for ink.

    Raises:
        ValueError: Images do not fit.
        UserError: A file cannot be read.
    """
    learned = learner._state or learner._fresh()
    read = read_images(images, learned.model.config, learned.preprocess, learned.columns)
    return np.zeros(len(read.pixels), bool) if read.reports is None else blank(read.reports)


def _answer(labels: list[object], shares: NDArray[np.float64], without: bool) -> Answer:
    best, unknown = int(shares[:-1].argmax()), float(shares[-1])
    probabilities = dict(zip(labels, shares[:-1].tolist(), strict=True))
    if unknown < 0.5:
        return Answer(labels[best], float(shares[best]), unknown, probabilities)
    return Answer(None, unknown, unknown, probabilities, "no ink was found" if without else "like none of the classes")
