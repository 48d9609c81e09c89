"""Accuracy on unseen classes: episodes, baselines, adaptation curves, test-time augmentation."""
