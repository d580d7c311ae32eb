"""From shards to batches: the tf.data pipeline, augmentation, and how long training waits for it."""
