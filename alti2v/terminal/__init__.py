"""Progress of the stages on standard error: live bars on a terminal, a few lines elsewhere."""
