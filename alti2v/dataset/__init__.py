"""Store to dataset: a pure plan, then shards and tables that every reader loads."""
