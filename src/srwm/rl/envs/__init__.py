"""Many environments behind one vector interface; knows nothing of agents."""

from srwm.rl.envs.interface import EnvironmentCrash, EnvSpec, Episode, Frame, VectorEnv

__all__ = ["EnvSpec", "EnvironmentCrash", "Episode", "Frame", "VectorEnv"]
