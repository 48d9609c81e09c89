"""Models and weights from elsewhere."""
