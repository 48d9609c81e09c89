"""Import of models and weights from other projects."""
