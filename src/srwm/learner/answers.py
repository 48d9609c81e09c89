"""What a few-shot learner says of images: a class, or that it cannot read them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.images import read_images


@dataclass(frozen=True)
class Answer:
    """The answer to one image."""

    label: object | None
    """the most probable label; None: the image cannot be read as one of the classes"""
    probability: float
    """of that label; 0 where it is None"""
    probabilities: dict[object, float]
    """of each label, in the order of the learner's classes; all 0 where the image cannot be read"""
    reason: str = ""
    """why the label is None"""


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
    shares, blank = learner.predict_proba(images), without_ink(learner, images)
    return [_blank(labels) if empty else _answer(labels, share) for share, empty in zip(shares, blank, strict=True)]


def without_ink(learner: FewShotLearner, images: object) -> NDArray[np.bool_]:
    """Which images a learner of ink would see as blank.

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
    pixels, _ = read_images(images, learned.model.config, learned.preprocess, learned.columns)
    blank: NDArray[np.bool_] = (pixels == 0).flatten(1).all(1).numpy()
    return blank & (learned.preprocess == "ink")


def _answer(labels: list[object], shares: NDArray[np.float64]) -> Answer:
    best = int(shares.argmax())
    return Answer(labels[best], float(shares[best]), dict(zip(labels, shares.tolist(), strict=True)))


def _blank(labels: list[object]) -> Answer:
    return Answer(None, 0.0, dict.fromkeys(labels, 0.0), "no ink was found")
