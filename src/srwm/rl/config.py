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
    """RMSprop or Adam; the learning rate decays linearly to 0 over the budget."""

    name: Literal["rmsprop", "adam"] = "rmsprop"
    """the optimizer"""
    lr: Annotated[float, Above(0)] = 6e-4
    """initial learning rate"""
    alpha: Annotated[float, Between(0, 1)] = 0.99
    """RMSprop's decay of the mean squared gradient; unused by Adam, whose decay is 0.999"""
    eps: Annotated[float, AtLeast(0)] = 0.01
    """added to the root of the mean squared gradient"""
    clip_norm: Annotated[float, Above(0)] | None = 40.0
    """gradients are clipped to this norm; None: no clipping"""


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO. Its losses are means over steps, so costs and clip_norm apply to means."""

    clip: Annotated[float, Above(0)] = 0.2
    """clip range of the ratio of an action's probability to the acting policy's"""
    lambda_: Annotated[float, Between(0, 1), tyro.conf.arg(name="lambda")] = 0.95
    """lambda of generalized advantage estimation (GAE)"""
    epochs: Annotated[int, AtLeast(1)] = 3
    """passes over the unrolls of an update"""
    minibatches: Annotated[int, AtLeast(1)] = 4
    """gradient steps per pass, each on whole unrolls"""


@dataclass(frozen=True)
class TrainConfig:
    """A training run. Runs with equal configurations and a budget in frames are equal on the same machine and thread count."""

    FOREIGN_FIELDS: ClassVar = {"k_shot": "srwm fewshot"}

    env: EnvConfig = field(default_factory=EnvConfig)
    """the environments"""
    agent: AgentConfig = field(default_factory=AgentConfig)
    """the agent"""
    algorithm: Literal["impala", "ppo"] = "impala"
    """impala: V-trace, summed losses, one gradient step per batch; ppo: clipped ratios, mean losses, several gradient steps"""
    ppo: PPOConfig = field(default_factory=PPOConfig)
    """settings of PPO"""
    unroll_length: Annotated[int, AtLeast(1)] = 50
    """steps per unroll, the length of truncated backpropagation through time"""
    batch_size: Annotated[int, AtLeast(1)] = 32
    """unrolls per update"""
    overlap: bool = False
    """act while learning: the next unroll uses the weights from before the update, on half as many threads"""
    discount: Annotated[float, Between(0, 1)] = 0.99
    """discount factor per step"""
    reward_clip: Annotated[float, Above(0)] | None = 1.0
    """rewards are clipped to -reward_clip ... reward_clip for learning; None: no clipping"""
    value_cost: float = 0.25
    """weight of the squared error of the values"""
    entropy_cost: float = 0.01
    """weight of the entropy bonus"""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """the optimizer"""
    frames: Annotated[int, Above(0)] | None = None
    """budget in environment steps, summed over all environments"""
    minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of wall-clock time; training ends when the first budget is spent"""
    cpu_minutes: Annotated[float, Above(0)] | None = None
    """budget in minutes of CPU time, summed over the threads of a process"""
    log_every: Annotated[int, AtLeast(1)] = 10
    """updates between two rows of metrics"""
    checkpoint_every: Annotated[int, AtLeast(1)] = 1
    """updates between two checkpoints; 1: a killed run loses only the unroll in progress"""
    seed: Seed = 0
    """random seed of weights, environments and actions"""

    @property
    def budget(self) -> Budget:
        """The budget of training."""
        return Budget(frames=self.frames, minutes=self.minutes, cpu_minutes=self.cpu_minutes)
