"""The stand-in board with its drawn illustrations, and the main job in one command."""
