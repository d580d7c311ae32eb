"""Comparison of taggers of any family on the same pictures of a dataset, over the tags that all know."""
