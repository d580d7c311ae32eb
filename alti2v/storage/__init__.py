"""Storage: the on-disk contract, tar files, Parquet tables, all-or-nothing publication, URLs."""
