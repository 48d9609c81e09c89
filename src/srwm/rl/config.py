"""The configuration of a training run."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import tyro

from srwm.ranges import Above, AtLeast, Between, Seed
from srwm.rl.agent import AgentConfig
from srwm.rl.envs import EnvConfig
from srwm.training.budget import Budget


@dataclass(frozen=True)
class OptimizerConfig:
    """RMSprop or Adam; the learning rate falls linearly to 0 over the budget."""

    name: Literal["rmsprop", "adam"] = "rmsprop"
    """the optimizer"""
    lr: Annotated[float, Above(0)] = 6e-4
    """learning rate at the start"""
    alpha: Annotated[float, Between(0, 1)] = 0.99
    """decay of the mean squared gradient; Adam's is 0.999"""
    eps: Annotated[float, AtLeast(0)] = 0.01
    """added to the root of the mean squared gradient"""
    clip_norm: Annotated[float, Above(0)] | None = 40.0
    """largest norm of the gradient; None: no clipping"""


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO alone. Its losses are means, so costs and clip_norm act on means."""

    clip: Annotated[float, Above(0)] = 0.2
    """largest change of an action's probability, relative to the acting policy's, that is rewarded"""
    lambda_: Annotated[float, Between(0, 1), tyro.conf.arg(name="lambda")] = 0.95
    """decay of later temporal differences in an advantage"""
    epochs: Annotated[int, AtLeast(1)] = 3
    """passes over the unrolls of an update"""
    minibatches: Annotated[int, AtLeast(1)] = 4
    """gradient steps per pass, each on whole unrolls"""


@dataclass(frozen=True)
class TrainConfig:
    """A training run: two runs of equal configuration on the same machine and threads, with a budget in frames, are equal."""

    FOREIGN_FIELDS: ClassVar = {"k_shot": "srwm fewshot"}

    env: EnvConfig = field(default_factory=EnvConfig)
    """the environments"""
    agent: AgentConfig = field(default_factory=AgentConfig)
    """the agent"""
    algorithm: Literal["impala", "ppo"] = "impala"
    """IMPALA: one gradient step per batch on sums over its steps, V-trace; PPO: several, on means, clipped ratios"""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """settings of PPO alone"""
    unroll_length: Annotated[int, AtLeast(1)] = 50
    """steps of an unroll: as far as gradients reach back"""
    batch_size: Annotated[int, AtLeast(1)] = 32
    """unrolls per update; the environments fill a queue of them"""
    overlap: bool = False
    """act the next unroll while learning, with the weights from before the update, on half as many threads"""
    discount: Annotated[float, Between(0, 1)] = 0.99
    """discount of the return, per step"""
    reward_clip: Annotated[float, Above(0)] | None = 1.0
    """rewards are clipped to -reward_clip ... reward_clip for learning; None: not clipped"""
    value_cost: float = 0.25
    """weight of the squared errors of the values"""
    entropy_cost: float = 0.01
    """weight of the policy's entropy"""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """the optimizer"""
    frames: Annotated[int, Above(0)] | None = None
    """budget in steps, summed over the environments"""
    minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of wall-clock time; of several budgets, the first to end counts"""
    cpu_minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of CPU time, summed over the threads of a process"""
    log_every: Annotated[int, AtLeast(1)] = 10
    """updates between two rows of metrics"""
    checkpoint_every: Annotated[int, AtLeast(1)] = 1
    """updates between two checkpoints; 1: a killed run loses only the unroll in progress"""
    seed: Seed = 0
    """seed of weights, environments and actions"""

    @property
    def budget(self) -> Budget:
        """What training may spend."""
        return Budget(frames=self.frames, minutes=self.minutes, cpu_minutes=self.cpu_minutes)
