"""The configuration of a training run."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from srwm.data.splits import DatasetName
from srwm.errors import UserError
from srwm.fewshot.augment import AugmentationConfig
from srwm.fewshot.auxiliary import AuxiliaryConfig
from srwm.fewshot.episodes import PoolConfig
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.protocol_options import OPTIONS, ProtocolOptions
from srwm.ranges import Above, AtLeast, HalfOpen, Seed
from srwm.training.budget import Budget
from srwm.training.configuration import config_from_dict
from srwm.training.optimizer import OptimizerConfig
from srwm.training.schedule import ScheduleName

T = TypeVar("T", bound=ProtocolOptions)


@dataclass(frozen=True)
class TrainConfig:
    """A training run. Runs with equal configurations and a budget in steps are equal on the same machine and thread count."""

    FOREIGN_FIELDS: ClassVar = {"env": "srwm rl"}
    RENAMED: ClassVar = {
        "average_decay": "ema_decay",
        "distort": "augment",
        "distortion": "augmentation",
        "fewest_ways": "min_ways",
        "most_shots": "max_shots",
        "normalise": "normalize",
    }
    RENAMED_VALUES: ClassVar = {name: {"omniglot-centred": "omniglot-centered"} for name in ("data", "second_data")}

    data: DatasetName = "omniglot"
    """name of the data set"""
    second_data: DatasetName | None = None
    """data set of the second task, for the protocol `sequential`"""
    protocol: str = "synchronous"
    """structure of an episode; `srwm fewshot train --help` lists the protocols"""
    protocol_options: ProtocolOptions = field(default_factory=ProtocolOptions)
    """options of the protocol"""
    model: ModelConfig = field(default_factory=ModelConfig)
    """the model; episodes have its `n_way` classes, and images its `image_shape`"""
    k_shot: Annotated[int, AtLeast(1)] = 1
    """labeled examples per class in an episode or stream (15 in the paper's streams)"""
    min_ways: int | None = None
    """smallest number of classes in a training episode; each step draws a number from min_ways to n_way; None: always n_way"""
    max_shots: Annotated[int, AtLeast(1)] | None = None
    """largest number of labeled examples per class; each step draws a number from k_shot to max_shots; None: always k_shot"""
    queries: Annotated[int, AtLeast(1)] = 5
    """queries per training episode, spread evenly over its classes; streams have no queries"""
    episodes: Annotated[int, AtLeast(1)] = 256
    """episodes, or streams, per batch"""
    accumulate: Annotated[int, AtLeast(1)] = 1
    """batches per optimizer step, whose gradients are summed"""
    sampler: Literal["per-episode", "pooled"] = "pooled"
    """per-episode: separate images for every episode, as in the paper; pooled: all episodes of a step share a pool of images"""
    pool: PoolConfig = field(default_factory=PoolConfig)
    """the pool of the pooled sampler"""
    normalize: bool = False
    """normalize channels to mean 0 and standard deviation 1 over the training images; otherwise images are in [0, 1]"""
    augment: bool = False
    """apply random data augmentation to every training image"""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """limits of the augmentation"""
    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)
    """an additional loss on the features of a step's images"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """dtype of convolutions, linear layers and LSTMs in training; fast-weight recurrences and evaluation use float32"""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """the optimizer"""
    schedule: ScheduleName = "constant"
    """learning rate over the budget: constant, the paper's warm-up, or warm-up, constant, then linear decay (trapezoid)"""
    ema_decay: Annotated[float, HalfOpen(0, 1)] | None = None
    """decay per step of an exponential moving average (EMA) of the weights, which is validated and saved; None: no average"""
    steps: Annotated[int, Above(0)] | None = None
    """budget in optimizer steps"""
    minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of wall-clock time, validation included; training ends when the first budget is spent"""
    cpu_minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of CPU time, summed over threads, validation included; other programs on the machine do not count"""
    patience: Annotated[int, Above(0)] | None = None
    """early stopping: number of consecutive validations without a new best; None: no early stopping"""
    log_every: Annotated[int, AtLeast(1)] = 20
    """steps between two rows of metrics"""
    validate_every: Annotated[int, AtLeast(1)] = 500
    """steps between two validations, each followed by a checkpoint"""
    validation_episodes: Annotated[int, AtLeast(2)] = 2000
    """episodes of a validation (with two tasks: streams in each order), the same each time"""
    validation_ways: int | None = None
    """number of classes in validation and test episodes; None: the model's n_way"""
    validation_queries: Annotated[int, AtLeast(1)] = 15
    """queries per episode of validation and test"""
    seed: Seed = 0
    """random seed of weights, episodes and augmentation"""

    def __post_init__(self) -> None:
        if type(self.protocol_options) is ProtocolOptions and self.protocol in OPTIONS:
            object.__setattr__(self, "protocol_options", OPTIONS[self.protocol]())

    @classmethod
    def from_earlier(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Convert the options of the protocol, which earlier versions kept in separate fields for each protocol.

        Args:
            values: the fields as JSON has them, of this or of an earlier version.

        Returns:
            The fields of this version, with the options as the dataclass of the protocol.

        Raises:
            TypeError: the protocol is unknown, or an option is unknown or of another type than its hint.
        """
        former = {name for kind in OPTIONS.values() for name in kind.FORMER_FIELDS}
        protocol, options = values.get("protocol", cls.protocol), values.get("protocol_options", {})
        if protocol not in OPTIONS:
            raise TypeError(f"protocol: expected {' or '.join(OPTIONS)}, got {protocol!r}")
        if not isinstance(options, dict):
            raise TypeError(f"protocol_options: expected a dictionary, got {options!r}")
        kind = OPTIONS[protocol]
        for name in kind.FORMER_FIELDS:
            options = {**options, **values.get(name, {})}
        try:
            read = config_from_dict(kind, options)
        except TypeError as error:
            raise TypeError(f"protocol_options: {error}") from error
        return {**{name: value for name, value in values.items() if name not in former}, "protocol_options": read}

    def options(self, kind: type[T]) -> T:
        """The options of the protocol.

        Args:
            kind: the class of the options.

        Returns:
            The options.

        Raises:
            UserError: they are the options of another protocol.
        """
        if not isinstance(self.protocol_options, kind):
            raise UserError(
                f"protocol_options: expected {kind.__name__} with protocol {self.protocol!r}, got {self.protocol_options}"
            )
        return self.protocol_options

    @property
    def budget(self) -> Budget:
        """The budget of training."""
        return Budget(steps=self.steps, minutes=self.minutes, cpu_minutes=self.cpu_minutes, patience=self.patience)

    @property
    def chance(self) -> float:
        """Accuracy of random predictions in training."""
        ways = range(self.min_ways or self.model.n_way, self.model.n_way + 1)
        return sum(1 / n for n in ways) / len(ways)
