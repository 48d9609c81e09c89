"""The few-shot learner for users: images and labels in, predictions out; checkpoints and files of what was learned."""

from srwm.learner.few_shot_learner import FewShotLearner
from srwm.learner.pretrained import load_model, push_model, save_model

__all__ = ["FewShotLearner", "load_model", "push_model", "save_model"]
