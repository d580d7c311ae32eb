"""The commands: options to a config dataclass, one library call, the result printed.

Heavy libraries are imported inside the commands, so that `alti2v --help` is fast. Defaults and choices that
cannot be read without them are repeated here, and tests compare them with the library's.
"""
