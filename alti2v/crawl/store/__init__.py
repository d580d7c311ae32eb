"""The one writer of a store: tar files that only grow, the SQLite ledger, and the Parquet tables."""
