"""The commands: each makes a config dataclass from its options, calls one function, and prints the result.

Heavy libraries are imported inside the commands, so that `alti2v --help` is fast. Defaults and choices come
from the config dataclasses, which import none of them.
"""
