"""Output of the frozen layers of a network, stored once for every picture, and batches of it."""
