"""Comparison of taggers of any family, on the same pictures, over the tags that all of them know."""
