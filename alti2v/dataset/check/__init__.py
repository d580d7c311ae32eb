"""Checks of a dataset (checksums, labels, samples), and the repair of damaged shards."""
