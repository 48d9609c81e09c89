"""The few-shot learner for users: `FewShotLearner`, its checkpoints and its saved states."""

from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.pretrained import load_model, push_model, save_model

__all__ = ["FewShotLearner", "load_model", "push_model", "save_model"]
