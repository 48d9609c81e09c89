"""Reinforcement learning: environments, agents and their training."""
