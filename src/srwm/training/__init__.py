"""What every training loop stands on: run folders, checkpoints, configurations, requests to stop, several processes."""
