"""Formats of picture files: for each, a reader that finds size and end of a picture without decoding it."""
