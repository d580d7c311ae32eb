"""The pictures that the stand-in board serves: drawn illustrations with their true tags."""
