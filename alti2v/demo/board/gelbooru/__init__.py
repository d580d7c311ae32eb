"""The stand-in board's Gelbooru 0.2 dialect."""
