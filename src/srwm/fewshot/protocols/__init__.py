"""Protocols: the episodes of a training step, its loss, and the evaluation of a model."""
