"""The training loop of few-shot models and its parts."""
