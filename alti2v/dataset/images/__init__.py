"""From the bytes of a file to a square picture, and what the picture looks like: hashes and thumbnails."""
