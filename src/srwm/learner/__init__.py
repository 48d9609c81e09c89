"""The few-shot learner as users hold it: images and labels in, predictions out; its files and checkpoints."""
