"""Options of the model's commands, with their defaults and choices; light, because `--help` shows them."""
