"""The classifier of streams for users: `StreamClassifier`."""

from srwm.learner.streams.classifier import StreamClassifier

__all__ = ["StreamClassifier"]
