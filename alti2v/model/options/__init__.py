"""Options of the model's commands, with defaults and choices; no heavy imports, because `--help` needs them."""
