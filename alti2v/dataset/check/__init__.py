"""Is a dataset sound? Checksums, labels and samples are compared, and what is damaged is made again."""
