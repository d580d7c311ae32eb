"""The training loop and what it keeps: settings, checkpoints, logs, and exact resumption."""
