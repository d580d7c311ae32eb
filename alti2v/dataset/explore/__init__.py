"""What `alti2v stats` shows of a dataset: sample pictures and groups of near-duplicates."""
