"""Formats of picture files: a reader for each, which finds size and end of a file without decoding it."""
