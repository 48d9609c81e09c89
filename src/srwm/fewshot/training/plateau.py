"""Warnings for runs whose training accuracy stays at chance, with suggestions."""

from srwm.fewshot.config import TrainConfig
from srwm.fewshot.protocols.registry import protocol_of
from srwm.training.chance import ChanceWatch

_MARGIN = 0.02


def suggestions(config: TrainConfig) -> list[str]:
    """Options that a run at chance does not use yet, most effective first.

    Args:
        config: the configuration of the run.

    Returns:
        One text for each option.
    """
    untried = {
        "--model.input balanced": config.model.head == "memory" and config.model.input != "balanced",
        "--auxiliary.kind neighbors": config.auxiliary.kind == "none",
        **dict.fromkeys(protocol_of(config).remedies(config), True),
        "--schedule trapezoid": config.schedule != "trapezoid",
        "--sampler pooled": config.sampler != "pooled",
    }
    return [option for option, left in untried.items() if left] + ["another --optimizer.lr"]


def watch_accuracy(config: TrainConfig, patience: int = 500) -> ChanceWatch:
    """A `ChanceWatch` for the training accuracy. Less than 2 points above chance counts as chance.

    Args:
        config: the configuration of the run.
        patience: number of steps at chance before a warning.

    Returns:
        The watch.
    """
    return ChanceWatch(config.chance + _MARGIN, patience)


def describe_chance(config: TrainConfig, step: int, steps: float, accuracy: float) -> str:
    """One line of warning that the training accuracy has been at chance.

    Args:
        config: the configuration of the run.
        step: the present step.
        steps: number of steps at chance.
        accuracy: the mean accuracy over these steps, in [0, 1].

    Returns:
        The line.
    """
    return (
        f"step {step}: training has been at chance for {steps:.0f} steps ({100 * accuracy:.1f} %, "
        f"chance {100 * config.chance:.1f} %); suggestions: {', '.join(suggestions(config))} "
        "(docs/fewshot.md, 'When training stays at chance')"
    )
