"""The commands, a module per room: options to a config dataclass, ONE library call, the result printed.

Everything heavy is imported inside the command that needs it: `alti2v --help` answers at once.
Defaults are written here for `--help`, and a test holds them against the dataclasses.
"""
