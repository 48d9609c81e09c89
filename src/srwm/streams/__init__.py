"""A laboratory of learners of streams: random streams, models, training and evaluation."""
