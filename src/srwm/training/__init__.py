"""Shared parts of training loops: run folders, checkpoints, configurations, metrics, budgets, several processes."""
