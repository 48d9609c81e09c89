"""Noticing that the training accuracy stays at chance, and what to try then."""

from srwm.fewshot.config import TrainConfig
from srwm.fewshot.protocols.registry import protocol_of
from srwm.training.chance import ChanceWatch

_MARGIN = 0.02


def suggestions(config: TrainConfig) -> list[str]:
    """What a run that stays at chance has not tried yet, most effective first."""
    untried = {
        "--model.input balanced": config.model.head == "memory" and config.model.input != "balanced",
        "--auxiliary.kind neighbors": config.auxiliary.kind == "none",
        **dict.fromkeys(protocol_of(config).remedies(config), True),
        "--schedule trapezoid": config.schedule != "trapezoid",
        "--sampler pooled": config.sampler != "pooled",
    }
    return [option for option, left in untried.items() if left] + ["another --optimizer.lr"]


def watch_accuracy(config: TrainConfig, patience: int = 500) -> ChanceWatch:
    """A watch that warns where the training accuracy has been less than 2 points above guessing for `patience` steps."""
    return ChanceWatch(config.chance + _MARGIN, patience)


def describe_chance(config: TrainConfig, step: int, steps: float, accuracy: float) -> str:
    """One line of warning: the training accuracy has been at chance for so many steps."""
    return (
        f"step {step}: training has been at chance for {steps:.0f} steps ({100 * accuracy:.1f} %, "
        f"chance {100 * config.chance:.1f} %); suggestions: {', '.join(suggestions(config))} "
        "(docs/fewshot.md, 'When training stays at chance')"
    )
