"""Protocols: what is drawn in a training step, what is asked of the model, and how it is tested."""
