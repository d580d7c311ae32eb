"""Cost of a training before it begins: memory, measured time, and the plan for a given time."""
