"""From a store to a dataset: a pure plan, then shards and tables in formats that common readers load."""
