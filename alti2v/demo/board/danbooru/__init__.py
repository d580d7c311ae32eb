"""The stand-in board's Danbooru dialect."""
