"""Pictures of the stand-in board: drawn illustrations with their true tags."""
