"""The configuration of a training run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from srwm.data.splits import DatasetName
from srwm.fewshot.augment import AugmentationConfig
from srwm.fewshot.auxiliary import AuxiliaryConfig
from srwm.fewshot.models.config import ModelConfig
from srwm.fewshot.training.schedule import Budget, ScheduleName
from srwm.training.runs import read_config_of

ProtocolName = Literal["synchronous", "delayed", "sequential", "bootstrap"]


@dataclass(frozen=True)
class PoolConfig:
    """The pool of a step; each image in it is embedded once and serves many episodes."""

    RENAMED: ClassVar = {"turned": "rotated"}

    classes: int = 60
    """classes in the pool"""
    images_per_class: int = 6
    """images of each class in the pool"""
    rotated: float = 0.0
    """share of the classes of a pool that are rotated by one to three quarters, as classes of their own; not for data whose
    rotations are classes already, as Omniglot's"""

    def count(self, classes: int) -> int:
        """How many classes come out of so many of a data set."""
        return 4 * classes if self.rotated else classes


@dataclass(frozen=True)
class DelayedConfig:
    """Streams whose labels come one step late."""

    hint: float = 0.0
    """share of the training streams in which each label comes with the features of its own image too; validation and test have
    none. With half of them, training leaves chance within minutes"""


@dataclass(frozen=True)
class SequentialConfig:
    """Two tasks in one sequence."""

    trim: int = 60
    """most steps cut off the end of each task in training, uniform from 0; tests run over whole tasks"""


@dataclass(frozen=True)
class BootstrapConfig:
    """Bootstrapped training: the state after the support learns from the state that more examples make of it."""

    future: int = 10
    """labeled examples after the support, spread over the classes as evenly as possible"""
    matching: Literal["output", "state"] = "output"
    """what is pulled to its future: answers, by Kullback-Leibler divergence, or the state, by mean squared error"""
    query_weight: float = 1.0
    """factor of the loss of the queries after the support"""
    future_weight: float = 10.0
    """factor of the loss of the same queries after the future examples"""
    matching_weight: float = 1.0
    """factor of the matching loss"""


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, or AdamW where there is weight decay."""

    lr: float = 1e-3
    """learning rate, or the factor of the `paper-warmup` schedule"""
    beta1: float = 0.9
    """decay of the mean gradient"""
    beta2: float = 0.999
    """decay of the mean squared gradient"""
    eps: float = 1e-8
    """added to the root of the mean squared gradient"""
    weight_decay: float = 0.0
    """decoupled weight decay, on matrices and convolutions alone"""
    clip_norm: float | None = None
    """largest norm of the gradient; None: no clipping"""


@dataclass(frozen=True)
class TrainConfig:
    """A training run: two runs of equal configuration on the same machine and threads, with a budget in steps, are equal."""

    RENAMED: ClassVar = {
        "average_decay": "ema_decay",
        "distort": "augment",
        "distortion": "augmentation",
        "fewest_ways": "min_ways",
        "most_shots": "max_shots",
        "normalise": "normalize",
        "streams": "delayed",
    }
    RENAMED_VALUES: ClassVar = {name: {"omniglot-centred": "omniglot-centered"} for name in ("data", "second_data")}

    data: DatasetName = "omniglot"
    """omniglot, omniglot-centered, glyphs, omniglot+glyphs, mini-imagenet, fc100, cifar-fs, or folder:PATH for class folders of
    one's own"""
    second_data: DatasetName | None = None
    """data set of the other task of the `sequential` protocol"""
    protocol: ProtocolName = "synchronous"
    """labeled examples, then queries; a stream whose labels come one step late; two such streams, of two data sets, in
    one sequence; or examples, queries, more examples and the same queries (bootstrapped training)"""
    delayed: DelayedConfig = field(default_factory=DelayedConfig)
    """the `delayed` and `sequential` protocols"""
    sequential: SequentialConfig = field(default_factory=SequentialConfig)
    """the `sequential` protocol"""
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    """the `bootstrap` protocol"""
    model: ModelConfig = field(default_factory=ModelConfig)
    """the learner; its `n_way` and `image_shape` are those of the episodes"""
    k_shot: int = 1
    """labeled examples per class in an episode, or in a stream of delayed labels, where the paper has 15"""
    min_ways: int | None = None
    """fewest classes in a training episode: each step draws their number up to the model's n_way; None: n_way always"""
    max_shots: int | None = None
    """most labeled examples per class: each step draws their number from k_shot on; None: k_shot always"""
    queries: int = 5
    """queries per episode, spread over its classes as evenly as possible; streams have none"""
    episodes: int = 256
    """episodes, or streams, per batch"""
    accumulate: int = 1
    """batches per step; their gradients are added up"""
    sampler: Literal["per-episode", "pooled"] = "pooled"
    """images of its own for every episode, as in the paper, or a pool of images from which a step's episodes are drawn"""
    pool: PoolConfig = field(default_factory=PoolConfig)
    """the pool of the pooled sampler"""
    normalize: bool = False
    """whether each data set's channels are brought to mean 0 and deviation 1 over its training images; else images are in
    [0, 1]"""
    augment: bool = False
    """whether every image of a step is distorted at random"""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """limits of the augmentation"""
    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)
    """a second loss, on the features of a step's images"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """arithmetic of convolutions and linear layers in training, LSTMs included; the recurrences of fast weights and all
    evaluation are in float32"""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """the optimizer"""
    schedule: ScheduleName = "constant"
    """learning rate over the budget: constant, the paper's warm-up, or up, flat and linearly down (trapezoid)"""
    ema_decay: float | None = None
    """decay per step of the moving average of the weights that is validated and kept; None: the weights themselves"""
    steps: int | None = None
    """budget of training in steps"""
    minutes: float | None = None
    """budget of training in minutes of wall time, validation included; with both, what ends first"""
    cpu_minutes: float | None = None
    """budget of training in minutes of processor time, all threads of a process added up, validation included: with one thread
    the minutes that it computes, whatever else the machine does meanwhile"""
    patience: int | None = None
    """validations without a new best after which training ends early; None: never"""
    log_every: int = 20
    """steps between two rows of metrics"""
    validate_every: int = 500
    """steps between two validations, each followed by a checkpoint"""
    validation_episodes: int = 2000
    """episodes (streams, for each order of two tasks) of a validation, the same ones each time"""
    validation_ways: int | None = None
    """classes in an episode of a validation or test; None: the model's n_way"""
    validation_queries: int = 15
    """queries per episode of a validation or test"""
    seed: int = 0
    """seed of weights, episodes and distortions"""

    @property
    def budget(self) -> Budget:
        """What training may spend."""
        return Budget(self.steps, self.minutes, self.cpu_minutes, self.patience)

    @property
    def chance(self) -> float:
        """The accuracy of guessing in training."""
        ways = range(self.min_ways or self.model.n_way, self.model.n_way + 1)
        return sum(1 / n for n in ways) / len(ways)


def read_config(folder: Path) -> TrainConfig:
    """The configuration of a few-shot run. Raises UserError where the folder is not one."""
    return read_config_of(folder, TrainConfig)
