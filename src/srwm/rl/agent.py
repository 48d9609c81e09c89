"""The agent: observations -> stem -> features and last reward -> core -> policy and value."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from srwm.nn import CORES, Stack, StackConfig, State, detach
from srwm.ranges import AtLeast, check_ranges
from srwm.rl.envs import EnvSpec
from srwm.vision import ImpalaResNet


@dataclass(frozen=True)
class AgentConfig:
    """An agent. The environments determine the shapes of observations and actions."""

    channels: tuple[Annotated[int, AtLeast(1)], ...] = (16, 32, 32)
    """channels of each stage of the image stem; unused for vector observations"""
    features: Annotated[int, AtLeast(1)] = 256
    """number of features per frame: width of the image stem's last layer, or of both layers of the stem for vectors"""
    stack: StackConfig = field(
        default_factory=lambda: StackConfig(
            d_model=128, num_heads=8, num_layers=2, ff_factor=4, residual="input", core_options={"input_softmax": True}
        )
    )
    """the recurrent core; a linear layer projects features and last reward to d_model, unless d_input is their width"""
    detach_every_step: bool = False
    """ablation: detach the state at every step, so query, key and learning-rate columns get no gradient"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """dtype of the stem's computation; core and heads use float32"""
    frames_at_once: Annotated[int, AtLeast(1)] = 128
    """number of frames per forward pass of the stem"""


class Agent(nn.Module):
    """Policy and value of B environments over T frames, with an explicit state.

    Args:
        config: the configuration.
        spec: shapes of observations and actions.

    Raises:
        ValueError: the configuration is inconsistent.
    """

    def __init__(self, config: AgentConfig, spec: EnvSpec) -> None:
        super().__init__()
        check_ranges(config)
        self.config = config
        self.spec = spec
        self.stem = _stem(config, spec)
        width = config.features + 1
        stack = config.stack
        core = CORES.get(stack.core)
        direct = stack.d_model == width or (stack.residual == "none" and core is not None and core.resizes)
        self.core_input = nn.Identity() if direct else nn.Linear(width, stack.d_model)
        self.core = Stack(replace(stack, d_input=width) if direct else stack)
        self.policy = nn.Linear(stack.d_model, spec.num_actions)
        self.value = nn.Linear(stack.d_model, 1)

    def forward(
        self, observations: Tensor, rewards: Tensor, firsts: Tensor, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Policy logits and values for T frames of B environments.

        Args:
            observations: (B, T, *observation_shape).
            rewards: (B, T), the reward of the action before each frame.
            firsts: (B, T) bool; True: an episode begins, and the core's state is reset before this frame.
            state: as returned by the previous call; None is a fresh one.

        Returns:
            Logits (B, T, num_actions), values (B, T) and the state after the last frame.
        """
        features = self.embed(observations.flatten(0, 1)).view(*observations.shape[:2], -1)
        x = self.core_input(torch.cat([features, rewards.clamp(-1, 1).to(features.dtype)[..., None]], -1))
        y, state = self._remember(x, state, firsts)
        return self.policy(y), self.value(y)[..., 0], state

    def embed(self, frames: Tensor) -> Tensor:
        """Features of frames: (N, *observation_shape) -> (N, features).

        Args:
            frames: (N, *observation_shape).

        Returns:
            (N, features), in the dtype of the weights.
        """
        size = self.config.frames_at_once
        enabled = self.config.precision == "bfloat16"
        # autocast's cache is shared by all threads: the acting thread would clear it while another one learns
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False):
            features = torch.cat([self.stem(frames[start : start + size]) for start in range(0, len(frames), size)])
        return features.to(self.value.weight.dtype)

    def _remember(self, x: Tensor, state: State | None, firsts: Tensor) -> tuple[Tensor, State]:
        if not self.config.detach_every_step:
            y: Tensor
            y, state = self.core(x, state, firsts)
            return y, state
        steps = []
        for t in range(x.shape[1]):
            y, state = self.core(x[:, t : t + 1], detach(state), firsts[:, t : t + 1])
            steps.append(y)
        return torch.cat(steps, 1), state


class _ImageStem(nn.Module):
    """Images (N, C, H, W) of 0 to 255 -> (N, features): `frame / 255`, ImpalaResNet, a linear layer, ReLU."""

    def __init__(self, channels: tuple[int, ...], features: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.stem = ImpalaResNet(channels, shape[0])
        self.linear = nn.Linear(self.stem.num_features(*shape[1:]), features)
        for parameter in self.stem.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        autocast = torch.is_autocast_enabled(images.device.type)
        dtype = torch.get_autocast_dtype(images.device.type) if autocast else self.linear.weight.dtype
        scaled = images.contiguous(memory_format=torch.channels_last).to(dtype).div_(255)
        features: Tensor = self.linear(self.stem(scaled)).relu()
        return features


def _stem(config: AgentConfig, spec: EnvSpec) -> nn.Module:
    match spec.observation_shape:
        case (channels, height, width):
            return _ImageStem(config.channels, config.features, (channels, height, width))
        case (size,):
            layers = nn.Linear(size, config.features), nn.ReLU(), nn.Linear(config.features, config.features), nn.ReLU()
            return nn.Sequential(*layers)
        case shape:
            raise ValueError(f"observation_shape: expected (C, H, W) or (F,), got {shape}")
