"""Configurations of models of streams and of their training."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from srwm.nn import Option, StackConfig
from srwm.ranges import Above, AtLeast, HalfOpen
from srwm.streams.prior import PriorConfig
from srwm.training.budget import Budget
from srwm.training.optimizer import OptimizerConfig
from srwm.training.schedule import ScheduleName


def _stack() -> StackConfig:
    options: dict[str, Option] = {"feature_map": "l2", "tied_init": True}
    return StackConfig("deltanet", d_model=96, num_heads=4, num_layers=3, ff_factor=2, core_options=options)


@dataclass(frozen=True)
class ModelConfig:
    """A model that learns a stream of samples of features and classes."""

    num_features: Annotated[int, AtLeast(1)] = 32
    """number of feature slots F"""
    num_classes: Annotated[int, AtLeast(2)] = 16
    """number of class slots C"""
    steps: Literal["query", "interleaved"] = "query"
    """query: a question reads the state without changing it; interleaved: each question is a step that writes as well"""
    stack: StackConfig = field(default_factory=_stack)
    """the recurrent part"""
    bound_every: Annotated[int, AtLeast(1)] = 50
    """number of samples between two times at which the matrices of the memory are bounded"""
    bound_init: Annotated[float, Above(0)] = 16.0
    """initial bound on the Frobenius norm of a head's matrix, or of its shift; it is trained"""
    max_count: Annotated[int, AtLeast(1)] = 1000
    """number of samples beyond which the model no longer sees how many there were"""
    experts: bool = True
    """whether the model reads the answers of simple online learners beside each sample, and adds to them"""
    window: Annotated[int, HalfOpen(1, 2**20)] = 1000
    """number of latest examples in which the experts look for neighbors"""


def _optimizer() -> OptimizerConfig:
    return OptimizerConfig(lr=2e-3, beta2=0.98, weight_decay=0.02, clip_norm=1.0)


@dataclass(frozen=True)
class TrainConfig:
    """A training run on random streams. Runs with equal configurations and a budget in steps are equal on the same machine."""

    FOREIGN_FIELDS: ClassVar = {"env": "srwm rl", "protocol": "srwm fewshot", "task": "srwm sequences"}

    model: ModelConfig = field(default_factory=ModelConfig)
    """the model"""
    prior: PriorConfig = field(default_factory=PriorConfig)
    """the random streams"""
    samples: Annotated[int, AtLeast(1)] = 6400
    """samples per optimizer step; the number of streams is this by their length"""
    lengths: tuple[Annotated[int, AtLeast(2)], ...] = (200, 400, 1000, 2000)
    """lengths of the streams, in the order of the curriculum"""
    length_from: tuple[Annotated[float, HalfOpen(0, 1)], ...] = (0.0, 0.3, 0.65, 0.9)
    """fraction of the budget from which each length is drawn, too; of those in use, the longest is drawn half of the time"""
    optimizer: OptimizerConfig = field(default_factory=_optimizer)
    """the optimizer"""
    schedule: ScheduleName = "trapezoid"
    """learning rate over the budget"""
    ema_decay: Annotated[float, HalfOpen(0, 1)] | None = 0.998
    """decay per step of an exponential moving average (EMA) of the weights, which is validated and saved; None: no average"""
    steps: Annotated[int, Above(0)] | None = None
    """budget in optimizer steps"""
    minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of wall-clock time, validation included; training ends when the first budget is spent"""
    cpu_minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of CPU time, summed over threads, validation included"""
    log_every: Annotated[int, AtLeast(1)] = 50
    """steps between two rows of metrics"""
    validate_every: Annotated[int, AtLeast(1)] = 500
    """steps between two validations, each followed by a checkpoint"""
    validation_streams: Annotated[int, AtLeast(1)] = 128
    """number of held-out random streams of a validation"""
    validation_length: Annotated[int, AtLeast(2)] = 1000
    """their length"""
    seed: Annotated[int, HalfOpen(0, 2**31)] = 0
    """random seed of weights and streams; the seeds of single steps stay below those of held-out streams"""

    @property
    def budget(self) -> Budget:
        """The budget of training."""
        return Budget(steps=self.steps, minutes=self.minutes, cpu_minutes=self.cpu_minutes)
