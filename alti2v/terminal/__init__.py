"""Progress of the stages on standard error: live bars on a terminal, few lines elsewhere."""
