"""Training on a sequence task."""
