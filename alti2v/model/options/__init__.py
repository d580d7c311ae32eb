"""Options of the model's commands, with defaults and choices; loads no heavy library, as `--help` shows them."""
