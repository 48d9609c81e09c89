"""What every training loop stands on: run folders, checkpoints, configurations, stopping, several processes, modes."""
