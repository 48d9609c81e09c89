"""Vector environments with one interface, independent of agents."""

from srwm.rl.envs.config import EnvConfig, build_env
from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Episode, Frame, Truncation, VectorEnv
from srwm.rl.envs.procgen import ProcgenConfig

__all__ = [
    "EnvConfig",
    "EnvCrashError",
    "EnvSpec",
    "Episode",
    "Frame",
    "ProcgenConfig",
    "Truncation",
    "VectorEnv",
    "build_env",
]
