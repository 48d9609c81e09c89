"""Few-shot learning: episodes, models, training, evaluation."""
