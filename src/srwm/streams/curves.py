"""Learning curves of one or several runs."""
