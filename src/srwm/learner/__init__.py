"""The product for users: `FewShotLearner` and `StreamClassifier`, their checkpoints and their saved states."""

from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.pretrained import load_model, push_model, save_model
from srwm.learner.streams.classifier import StreamClassifier

__all__ = ["FewShotLearner", "StreamClassifier", "load_model", "push_model", "save_model"]
