"""What goes where, as pure functions: outcomes, vocabulary, near-duplicate groups, split, and the order of the samples."""
