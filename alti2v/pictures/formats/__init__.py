"""Formats of picture files: a reader for each, which finds the size and the end of a file without decoding it."""
