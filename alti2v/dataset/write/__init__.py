"""Files of a dataset for its readers: shards, dataset card, Croissant metadata."""
