"""Training of a learner of streams."""
