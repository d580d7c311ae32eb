"""What goes where, as pure functions: vocabulary, near-duplicate groups, split, order of the samples."""
