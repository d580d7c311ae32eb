"""Training: the loop, its checkpoints and logs, and how it resumes after a kill."""
