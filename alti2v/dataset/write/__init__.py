"""What is written for readers: the samples of a shard, the dataset card, and the Croissant description."""
