"""Pure planning functions: vocabulary, near-duplicate groups, splits, order of the samples."""
