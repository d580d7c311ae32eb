"""Options of the model's commands, with their defaults and choices; imports nothing heavy, because `--help` shows them."""
