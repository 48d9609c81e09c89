"""Configurations of sequence tasks, models and training."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from srwm.nn import Option, StackConfig
from srwm.ranges import Above, AtLeast, Between, HalfOpen
from srwm.sequences.automaton.config import AutomatonConfig
from srwm.training.budget import Budget
from srwm.training.optimizer import OptimizerConfig
from srwm.training.schedule import ScheduleName

_LONGEST = 512


@dataclass(frozen=True)
class TaskConfig:
    """A task, and the lengths of its sequences in training."""

    name: str = "parity"
    """a formal language, a group, or automaton"""
    min_length: Annotated[int, Between(1, _LONGEST)] = 2
    """length of the shortest training sequences"""
    max_length: Annotated[int, Between(1, _LONGEST)] = 50
    """length of the longest training sequences, from which those of validation and test follow"""
    automaton: AutomatonConfig | None = None
    """options of the automaton; None for other tasks"""


def _stack() -> StackConfig:
    options: dict[str, Option] = {"beta_init": -1.0, "query_init_std": 0.01}
    return StackConfig("srwm", d_model=64, num_heads=4, num_layers=2, ff_factor=2, core_options=options)


def _optimizer() -> OptimizerConfig:
    return OptimizerConfig(lr=1e-3, weight_decay=0.01, clip_norm=1.0)


@dataclass(frozen=True)
class TrainConfig:
    """A training run on a sequence task. Runs with equal configurations and a budget in steps are equal on the same machine."""

    FOREIGN_FIELDS: ClassVar = {"env": "srwm rl", "protocol": "srwm fewshot", "prior": "srwm streams"}

    task: TaskConfig = field(default_factory=TaskConfig)
    """the task"""
    stack: StackConfig = field(default_factory=_stack)
    """the recurrent part of the model"""
    batch_size: Annotated[int, AtLeast(1)] = 64
    """sequences per optimizer step and process"""
    optimizer: OptimizerConfig = field(default_factory=_optimizer)
    """the optimizer"""
    schedule: ScheduleName = "trapezoid"
    """learning rate over the budget"""
    steps: Annotated[int, Above(0)] | None = None
    """budget in optimizer steps"""
    minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of wall-clock time, validation included; training ends when the first budget is spent"""
    cpu_minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of CPU time, summed over threads, validation included"""
    log_every: Annotated[int, AtLeast(1)] = 50
    """steps between two rows of metrics"""
    validate_every: Annotated[int, AtLeast(1)] = 200
    """steps between two validations, each followed by a checkpoint"""
    validation_sequences: Annotated[int, AtLeast(1)] = 256
    """number of sequences of a validation"""
    seed: Annotated[int, HalfOpen(0, 2**31)] = 0
    """random seed of weights and sequences"""

    @property
    def budget(self) -> Budget:
        """The budget of training."""
        return Budget(steps=self.steps, minutes=self.minutes, cpu_minutes=self.cpu_minutes)
