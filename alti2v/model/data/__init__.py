"""Batches from shards: the tf.data pipeline, augmentation, and how long training waits for input."""
