"""Protocols: what a training step draws, its loss, and how a model is evaluated."""
