"""Many environments behind one vector interface; knows nothing of agents."""

from srwm.rl.envs.interface import EnvCrashError, EnvSpec, Episode, Frame, VectorEnv

__all__ = ["EnvCrashError", "EnvSpec", "Episode", "Frame", "VectorEnv"]
