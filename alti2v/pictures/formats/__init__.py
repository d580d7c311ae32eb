"""Formats of picture files: for each, a reader that finds the size and the end of a picture without decoding it."""
